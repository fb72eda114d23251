using CsCheck;
using Fabric.Vfio.Core.Interrupts;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>Random SET_IRQS, line levels, DisINTx, interrupts, suspends: after every step the real thing is what the model is (TS-3).</summary>
public sealed class RandomWalkTests
{
    private const int Msi = 4;
    private const int Msix = 6;

    private static readonly string[] Actions = ["mask", "unmask", "trigger"];
    private static readonly string[] Data = ["none", "bool", "eventfd"];
    private static readonly int[] Fds = [0, 1, 2, 3, 4, 5, 6, 7, -1, -1, -2, ReferenceModel.BadFd, ReferenceModel.NoEventfd];

    private static readonly Gen<Step> AnyRequest = Gen.Select(
        Gen.Enum<IrqIndex>(), OneOf("trigger", "trigger", "trigger", "mask", "unmask"), OneOf(Data), Gen.Int[0, Msix], Gen.Int[0, Msix],
        OneOf(Fds).Array[Msix], (index, action, data, start, count, fds) => Clip(new Step("set", index, action, data, start, fds[..count])));

    /// <summary>Requests that a driver makes: INTx enabled, masked, unmasked, disabled.</summary>
    private static readonly Gen<Step> IntxRequest = Gen.Select(
        OneOf(Actions), OneOf(Data), OneOf(Fds), Gen.Int[0, 5],
        (action, data, fd, none) => new Step("set", IrqIndex.Intx, action, data, 0, none == 0 ? [] : [fd]));

    private static readonly Gen<Step> Event = Gen.Select(
        OneOf("assert", "assert", "deassert", "disable", "enable", "eventfd", "fire", "suspend", "resume", "error", "request", "tear down"),
        Gen.Int[0, 7],
        (kind, which) => new Step(kind, default, "", "", which, []));

    private static readonly Gen<Step> AnyStep = Gen.OneOf(AnyRequest, IntxRequest, Event, Event);

    private static Gen<T> OneOf<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private sealed record Step(string Kind, IrqIndex Index, string Action, string Data, int Start, int[] Values)
    {
        public override string ToString() =>
            Kind == "set" ? $"{Index} {Action} {Data} {Start} [{string.Join(' ', Values)}]" : $"{Kind} {Start}";
    }

    [Theory]
    [InlineData(true, true, Msix)]
    [InlineData(false, false, Msix)]
    [InlineData(true, false, 3)]
    public void Every_walk_gives_what_the_model_gives_INV_2_IO_42_IO_43_IO_44_CF_14_CF_62(bool functionMasks, bool canGrow, int available) =>
        AnyStep.Array[1, 60].Sample(walk => Walk(walk, functionMasks, canGrow, available), iter: FuzzRun.Times(6000));

    /// <summary>Numbers at the edges and mostly within, whatever flags, data of any length, descriptors of any kind.</summary>
    private static readonly Gen<SetIrqs> Anything = Gen.Select(
        AnyNumber(5), AnyNumber(Msix), AnyNumber(Msix), Gen.OneOf(Gen.UInt[0, 63], Gen.UInt, OneOf(4u | 32, 2u | 32, 1u | 32)), Gen.Byte.Array[0, 8],
        Gen.Select(Gen.OneOf(Gen.Int[-2, 2], Gen.Int), Gen.Int[0, 3], Hostile).Array[0, 8],
        (index, start, count, flags, bools, events) => new SetIrqs(index, start, count, (IrqSetFlags)flags, bools, events));

    [Fact]
    public void Any_request_at_all_gets_an_answer_and_leaves_the_invariants_whole_INV_2_IO_40() => Anything.Array[1, 20].Sample(
        walk =>
        {
            var interrupts = new InterruptingFunction { CanGrowMsix = true }.Open(msi: Msi, msix: Msix);
            foreach (var request in walk)
            {
                Assert.InRange(interrupts.Set(request).ReturnValue, -(int)Errno.EOPNOTSUPP, 0);
                Assert.Null(interrupts.BrokenInvariant());
            }
        },
        iter: FuzzRun.Times(20_000));

    private static Gen<uint> AnyNumber(uint usual) =>
        Gen.Frequency((9, Gen.UInt[0, usual]), (1, OneOf<uint>(int.MaxValue, 1u << 31, uint.MaxValue - 1, uint.MaxValue)), (1, Gen.UInt));

    private static EventRef Hostile(int fd, int kind) => kind switch
    {
        0 => new EventRef(fd, null),
        1 => new EventRef(fd, null, Errno.EBADF),
        2 => new EventRef(fd, null, Errno.EINVAL),
        _ => new EventRef(fd, new FakeEventfd()),
    };

    private static void Walk(Step[] walk, bool functionMasks, bool canGrow, int available)
    {
        var function = new InterruptingFunction { HasDisIntx = functionMasks, CanGrowMsix = canGrow, Available = available };
        var interrupts = function.Open(msi: Msi, msix: Msix);
        var model = new ReferenceModel(canGrow, available);
        var counters = Enumerable.Range(0, model.Signals.Length).Select(_ => new Counter()).ToArray();
        foreach (var step in walk)
        {
            Assert.Equal(Take(model, step), Take(interrupts, function, counters, step));

            Assert.Equal(model.State, State(interrupts.Inspect()));
            Assert.Equal(model.Signals, counters.Select(counter => counter.Signals));
            Assert.Null(interrupts.BrokenInvariant());
            var intx = interrupts.Inspect().Intx;
            if (intx.IsEnabled)
                Assert.Equal(intx.IsMasked, functionMasks ? function.DisIntxIsSet : function.IsLineMasked);
            Assert.Equal(interrupts.Active is null, !function.IsLineConnected && function.Allocated.Count == 0);
        }
    }

    private static int Take(ReferenceModel model, Step step)
    {
        switch (step.Kind)
        {
            case "set":
                return model.Set(step.Index.ToString(), step.Action, step.Data, step.Start, step.Values);
            case "assert" or "deassert":
                model.SetLine(step.Kind == "assert");
                return 0;
            case "disable" or "enable":
                model.SetDisabled(step.Kind == "disable");
                return 0;
            case "eventfd":
                model.SignalEventfd(step.Start);
                return 0;
            case "fire":
                model.Fire(step.Start);
                return 0;
            case "suspend":
                model.Suspend();
                return 0;
            case "resume":
                model.Resume();
                return 0;
            case "error":
                model.Error();
                return 0;
            case "request":
                model.Request();
                return 0;
            default:
                model.TearDown();
                return 0;
        }
    }

    private static int Take(DeviceInterrupts interrupts, InterruptingFunction function, Counter[] counters, Step step)
    {
        switch (step.Kind)
        {
            case "set":
                return interrupts.Set(Typed(step, counters)).ReturnValue;
            case "assert":
                function.Assert();
                return 0;
            case "deassert":
                function.Deassert();
                return 0;
            case "disable" or "enable":
                interrupts.SetVirtuallyDisabled(step.Kind == "disable");
                return 0;
            case "eventfd":
                counters[step.Start].Write();
                return 0;
            case "fire":
                if (function.Connected.ContainsKey(step.Start))
                    function.Fire(step.Start);
                return 0;
            case "suspend":
                interrupts.Suspend();
                return 0;
            case "resume":
                interrupts.Resume();
                return 0;
            case "error":
                interrupts.SignalError();
                return 0;
            case "request":
                interrupts.SignalRequest();
                return 0;
            default:
                interrupts.TearDown();
                return 0;
        }
    }

    private static SetIrqs Typed(Step step, Counter[] counters)
    {
        var action = step.Action switch
        {
            "mask" => IrqSetFlags.ActionMask,
            "unmask" => IrqSetFlags.ActionUnmask,
            _ => IrqSetFlags.ActionTrigger,
        };
        var data = step.Data switch
        {
            "none" => IrqSetFlags.DataNone,
            "bool" => IrqSetFlags.DataBool,
            _ => IrqSetFlags.DataEventfd,
        };
        return new SetIrqs(
            (uint)step.Index,
            (uint)step.Start,
            (uint)step.Values.Length,
            action | data,
            step.Values.Select(value => (byte)value).ToArray(),
            step.Values.Select(fd => Reference(fd, counters)).ToArray());
    }

    private static EventRef Reference(int fd, Counter[] counters) => fd switch
    {
        < 0 => new EventRef(fd, null),
        ReferenceModel.BadFd => Request.BadFd,
        ReferenceModel.NoEventfd => Request.NoEventfd,
        _ => EventRef.Of(counters[fd]),
    };

    private static string State(InterruptView view)
    {
        var allocated = view.Vectors.Select((vector, i) => vector.IsAllocated ? i : -1).Where(i => i >= 0);
        var attached = view.Vectors.Select((vector, i) => vector.IsAttached ? i : -1).Where(i => i >= 0);
        var intx = view.Intx;
        return $"{view.Active} intx {intx.HasTarget} {intx.IsMasked} {intx.IsVirtuallyDisabled} {intx.HasResample} "
            + $"vectors {string.Join(',', allocated)}/{string.Join(',', attached)} {view.HasErr} {view.HasReq}";
    }

    /// <summary>Within what the index has: what lies beyond is validation's business (IO-40), and the matrix's.</summary>
    private static Step Clip(Step step)
    {
        var vectors = step.Index switch
        {
            IrqIndex.Msi => Msi,
            IrqIndex.Msix => Msix,
            _ => 1,
        };
        var start = step.Start % vectors;
        return step with { Start = start, Values = step.Values[..Math.Min(step.Values.Length, vectors - start)] };
    }

    /// <summary>An eventfd that counts what the device signals, and is written by somebody else besides.</summary>
    private sealed class Counter : IEventTarget, IEventSource
    {
        private IEventTarget? listener;

        public int Signals { get; private set; }

        public void Signal() => Signals++;

        public void Write() => listener?.Signal();

        public IDisposable Subscribe(IEventTarget listener)
        {
            this.listener = listener;
            return new Subscription(this);
        }

        private sealed class Subscription(Counter counter) : IDisposable
        {
            public void Dispose() => counter.listener = null;
        }
    }
}
