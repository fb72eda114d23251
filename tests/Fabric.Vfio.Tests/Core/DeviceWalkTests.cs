using CsCheck;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Tests.Core.Interrupts;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

/// <summary>
/// Whatever is done to several devices, in whatever order: two functions of one slot, and a PF whose VFs come and go. After every step
/// the invariants hold, hardware met nothing that it must not meet, and memory is reached exactly where the core says that it can be used.
/// </summary>
public sealed class DeviceWalkTests
{
    private enum Op
    {
        Open,
        Close,
        Enable,
        FinishEnable,
        Disable,
        Command,
        PowerState,
        WriteConfig,
        ReadConfig,
        ReadBar,
        WriteBar,
        Map,
        Reset,
        ResetByHost,
        SetResetMethods,
        FunctionLevelReset,
        HotReset,
        HotResetOfOne,
        EnterLowPower,
        EnterLowPowerWithWake,
        ExitLowPower,
        Wake,
        Export,
        Fire,
        SetIrqs,
        RegisterErr,
        Error,
        RegisterReq,
        Request,
        Migrate,
        NumVfs,
        RegisterVfs,
        Unregister,
        Elapse,
        Interrupt,
        Register,
        ResetFails,
        BusFails,
        Stick,
    }

    private static readonly Gen<Step> AnyStep = Gen.Select(
        Gen.Frequency(
            (3, Gen.Const(Op.Open)), (2, Gen.Const(Op.Close)), (3, Gen.Const(Op.Command)), (3, Gen.Const(Op.PowerState)),
            (3, Gen.Const(Op.Map)), (2, Gen.Const(Op.Export)), (2, Gen.Const(Op.HotReset)), (3, Gen.Const(Op.Migrate)), (24, Gen.Enum<Op>())),
        Gen.Int[0, 4],
        Gen.Int[0, 0x1ff],
        (op, device, value) => new Step(op, device, value));

    /// <summary>One line of a script: what is done, to which device, and with which number.</summary>
    private readonly record struct Step(Op Op, int Device, int Value)
    {
        public override string ToString() => $"{Op}({Device}, 0x{Value:x})";
    }

    /// <summary>How often each of them was done, and not refused.</summary>
    private readonly int[] done = new int[Enum.GetValues<Op>().Length];

    [Fact]
    public void Every_walk_over_several_devices_keeps_the_laws_INV_1_INV_2_INV_3_INV_5_INV_6_INV_7_INV_8_INV_9_INV_10()
    {
        AnyStep.Array[1, 60].Sample(
            walk =>
            {
                if (FailureOf(walk) is not null)
                    Report(Shortest(walk));
            },
            iter: FuzzRun.Times(4000),
            print: walk => $"{walk.Length} steps");
        Assert.All(Enum.GetValues<Op>(), op => Assert.True(op == Op.HotResetOfOne ^ done[(int)op] > 0, $"{op} was done {done[(int)op]} times."));
    }

    private Exception? FailureOf(IReadOnlyList<Step> walk)
    {
        var lab = new Lab();
        return Record.Exception(() =>
        {
            foreach (var step in walk)
            {
                if (lab.Take(step) == Errno.None)
                    Interlocked.Increment(ref done[(int)step.Op]);
                lab.Check();
            }
        });
    }

    /// <summary>Leaves out every step that the failure does not need: what remains is the script to read.</summary>
    private List<Step> Shortest(IEnumerable<Step> walk)
    {
        var script = walk.ToList();
        for (var length = 0; length != script.Count;)
        {
            length = script.Count;
            for (var i = script.Count - 1; i >= 0; i--)
            {
                List<Step> shorter = [.. script[..i], .. script[(i + 1)..]];
                if (FailureOf(shorter) is not null)
                    script = shorter;
            }
        }

        return script;
    }

    private void Report(List<Step> script) => Assert.Fail($"{string.Join("\n", script)}\n{FailureOf(script)}");

    /// <summary>The host: its bus, its devices, and what is known of them by watching from outside.</summary>
    private sealed class Lab
    {
        private readonly CardFunction left = AnyCard(Card.At(1), group: 1);
        private readonly CardFunction right = AnyCard(Card.At(1, 1), group: 2, noSoftReset: true);
        private readonly CardFunction physical = AnyCard(Card.At(2), group: 3);
        private readonly CardBus bus;
        private readonly VfioPciDevices devices;
        private readonly List<Watched> watched = [];

        public Lab()
        {
            bus = new CardBus(left, right, physical) { Scope = CardBus.SlotOf(left, right), VirtualInterrupts = AnyInterrupts };
            devices = new VfioPciDevices(bus);
            foreach (var card in bus.Cards.ToArray())
                Register(card);
        }

        private static CardFunction AnyCard(PciAddress address, int group, bool noSoftReset = false) =>
            new(address, noSoftReset: noSoftReset) { IommuGroup = group, ResetMethods = Methods, Interrupts = AnyInterrupts() };

        private static InterruptingFunction AnyInterrupts() => new() { CanGrowMsix = true };

        /// <summary>None: it was done. What there is nothing to do for is EINVAL.</summary>
        public Errno Take(Step step)
        {
            var errno = Do(step, watched[step.Device % watched.Count]);
            Assert.True(Enum.IsDefined(errno), $"{errno} is no errno.");
            return errno;
        }

        public void Check()
        {
            foreach (var device in watched)
                device.Check();
        }

        private Errno Do(Step step, Watched device)
        {
            var core = device.Core;
            switch (step.Op)
            {
                case Op.NumVfs:
                    return core.WriteNumVfs($"{step.Value % 4}").Error.Errno;
                case Op.RegisterVfs:
                    foreach (var card in bus.Cards.Where(card => card.IsVirtual).ToArray())
                        Register(card);
                    return Errno.None;
                case Op.Register when core.Registration == RegistrationState.Unregistered && bus.Cards.Contains(device.Card):
                    Register(device.Card);
                    return Errno.None;
                case Op.Register:
                    return Errno.EINVAL;
                case Op.BusFails:
                    bus.OnHotReset = Fault(step.Value);
                    return Errno.None;
                default:
                    return device.Do(step.Op, step.Value);
            }
        }

        private void Register(CardFunction card)
        {
            var driver = new MigratingDriver();
            var options = new CoreOptions(EnableSriov: true, DisableIdleD3: card == right);
            var registered = devices.Register(card, card == physical ? DriverDeclaration.VfioPci with { Resets = driver } : driver.Declaration, options);
            if (!registered.IsOk)
                return;
            card.HasSetAlone = () => registered.Value.Set.IsTaken;
            watched.RemoveAll(device => device.Card == card);
            watched.Add(new Watched(registered.Value, card, driver));
        }
    }

    /// <summary>One device with all that its holders ever got from it.</summary>
    private sealed class Watched(VfioPciCore core, CardFunction card, MigratingDriver driver)
    {
        private readonly List<(RegionMapping Mapping, int Session)> mappings = [];
        private readonly List<(DmaBuf Buffer, int Session)> buffers = [];
        private readonly FakeSource source = new();
        private FakeTarget err = new();
        private FakeTarget wake = new();
        private FakeTarget req = new();
        private int session;
        private int errors;
        private int requests;
        private int steps;
        private int resets;
        private bool engaged;
        private bool listens;

        public VfioPciCore Core => core;

        public CardFunction Card => card;

        private bool HasSession => core.References > 0;

        private bool CanReach => core.IsMemoryUsable && !engaged;

        /// <summary>By what hardware shows.</summary>
        private bool Answers => card.PowerState != PciPowerState.D3Hot && (card.IsVirtual || card.Has(PciCommand.MemorySpace));

        public Errno Do(Op op, int value)
        {
            switch (op)
            {
                case Op.Open:
                    return Begin(core.Open());
                case Op.Enable:
                    return Begin(core.Enable());
                case Op.FinishEnable:
                    return core.FinishEnable().Error.Errno;
                case Op.Close:
                    core.Close();
                    return Ended();
                case Op.Disable:
                    core.Disable();
                    return Ended();
                case Op.Command:
                    return Config(ConfigOffset.Command, (byte)(value & 7), (byte)((value >> 6) & 4));
                case Op.PowerState:
                    return Config(CardFunction.Pmcsr, (byte)(value & 3), 0);
                case Op.WriteConfig:
                    return Config(value, (byte)value, (byte)(value >> 1), (byte)(value >> 2), (byte)(value >> 3));
                case Op.ReadConfig:
                    return core.Read(RegionIndex.Config, (ulong)value, new byte[value & 0xff]).Error.Errno;
                case Op.ReadBar:
                    return core.Read(value & 7, (ulong)value, new byte[value & 0x1f]).Error.Errno;
                case Op.WriteBar:
                    return core.Write(value & 7, (ulong)value, new byte[value & 0x1f]).Error.Errno;
                case Op.Map:
                    return Map();
                case Op.Reset:
                    return core.Reset().Error.Errno;
                case Op.ResetByHost:
                    return core.ResetByHost((value % 4) switch { 0 => "flr", 1 => "bus", 2 => "pm", _ => null }).Error.Errno;
                case Op.SetResetMethods:
                    return core.SetResetMethods((value % 4) switch { 0 => ["bus"], 1 => ["bus", "flr"], 2 => [], _ => ["pm"] }).Error.Errno;
                case Op.FunctionLevelReset:
                    return Config(CardFunction.Express + PciExpressCapability.DeviceControl, 0, 0x80);
                case Op.HotReset:
                    return core.HotReset(new GroupOwnership(1, 2)).Error.Errno;
                case Op.HotResetOfOne:
                    return core.HotReset(new GroupOwnership(1)).Error.Errno;
                case Op.EnterLowPower:
                    return Engage(null);
                case Op.EnterLowPowerWithWake:
                    return Engage(new FakeTarget());
                case Op.ExitLowPower:
                    var left = core.ExitLowPower().Error.Errno;
                    engaged &= left != Errno.None;
                    return left;
                case Op.Wake:
                    core.Wake();
                    return Errno.None;
                case Op.Export:
                    return Export();
                case Op.Fire:
                    core.SetIoEventFd(new IoEvent(CardFunction.MemoryBar, (ulong)(value & 0xff8), 8, 1), source);
                    source.Fire();
                    return Errno.None;
                case Op.SetIrqs:
                    return core.SetIrqs(AnyRequest(value)).Error.Errno;
                case Op.RegisterReq:
                    var heard = core.SetTrigger(IrqIndex.Req, req).Error.Errno;
                    listens |= heard == Errno.None;
                    return heard;
                case Op.Migrate:
                    return HasSession ? driver.Machine.Set((MigrationState)(value % 8)).Error.Errno : Errno.EINVAL;
                case Op.RegisterErr:
                    var registered = core.SetTrigger(IrqIndex.Err, err);
                    return registered.Error.Errno;
                case Op.Error:
                    var before = err.Signals;
                    var vote = core.ErrorDetected();
                    errors += err.Signals - before;
                    Assert.True(err.Signals == before || vote == Fabric.Pci.Recovery.RecoveryVote.CanRecover, "INV-9");
                    return Errno.None;
                case Op.Request:
                    core.Request(value);
                    Requested();
                    return Errno.None;
                case Op.Unregister:
                    core.Unregister();
                    return Errno.None;
                case Op.Elapse when Waits:
                    core.Unregister().Elapse();
                    return Asked();
                case Op.Interrupt when Waits && core.Unregister().IsInterruptible:
                    core.Unregister().Interrupt();
                    return Asked();
                case Op.Elapse or Op.Interrupt:
                    return Errno.EINVAL;
                case Op.ResetFails:
                    card.OnReset = Fault(value);
                    return Errno.None;
                case Op.Stick:
                    card.IsStuck = value % 4 == 0;
                    return Errno.None;
                default:
                    throw new InvalidOperationException($"{op} is the lab's.");
            }
        }

        public void Check()
        {
            Assert.Empty(core.CheckInvariants());
            Assert.Empty(card.Violations);
            engaged &= HasSession && wake.Signals == 0;
            Assert.True(!CanReach || Answers, "The core says that memory can be used, and hardware does not answer.");
            foreach (var (mapping, of) in mappings)
                CheckMapping(mapping, of);
            foreach (var (buffer, of) in buffers)
                CheckBuffer(buffer, of);
            if (!HasSession)
                CheckClosed();
            CheckMigration();
            CheckLeaving();
            Assert.Equal(errors, err.Signals);
            Assert.True(!core.IsSriovActive || card.PowerState == PciPowerState.D0, "INV-6: a PF with VFs is not in D0.");
            Assert.NotNull(core.Inspect()["power"]);
        }

        private void CheckClosed()
        {
            var interrupts = (InterruptingFunction)card.Interrupts;
            Assert.Null(card.Dma);
            Assert.False(card.Has(PciCommand.BusMaster), "INV-3: the bus is mastered while the device is closed.");
            Assert.False(interrupts.IsLineConnected || interrupts.Allocated.Count > 0, "INV-3: an interrupt outlived its session.");
            Assert.True(driver.LiveStreams == 0, "INV-3: a stream outlived its session.");
        }

        private void CheckMigration()
        {
            Assert.InRange(driver.LiveStreams, 0, 1);                                                                // MG-53
            Assert.True(card.Resets == resets || (driver.Machine.State == MigrationState.Running && driver.LiveStreams == 0), "INV-8");
            resets = card.Resets;
        }

        /// <summary>REQ once when the wait begins, once more for every interval and for a signal; nobody holds what is gone (INV-10).</summary>
        private void CheckLeaving()
        {
            var leaving = core.Registration == RegistrationState.Registered ? null : core.Unregister();
            if (leaving is { Requests: > 0 } && steps == 0)
                Asked();
            Assert.Equal(steps, leaving?.Requests ?? 0);
            Assert.Equal(requests, req.Signals);
            if (core.Registration == RegistrationState.Unregistered)
                Assert.Equal(0, core.References);
        }

        /// <summary>The wait for its own holder is on, not the one for its VFs.</summary>
        private bool Waits => steps > 0 && !core.Unregister().IsComplete;

        private Errno Asked()
        {
            steps++;
            return Requested();
        }

        private Errno Requested()
        {
            if (listens && HasSession)
                requests++;
            return Errno.None;
        }

        /// <summary>As a driver does at last close.</summary>
        private Errno Ended()
        {
            if (!HasSession)
                driver.Machine.Close();
            return Errno.None;
        }

        private static SetIrqs AnyRequest(int value) => (value % 4) switch
        {
            0 => Trigger(IrqIndex.Intx, IrqSetFlags.DataEventfd, 1),
            1 => Trigger(IrqIndex.Msix, IrqSetFlags.DataEventfd, 1 + (value / 4 % CardFunction.MsixVectors)),
            2 => Trigger(IrqIndex.Intx, IrqSetFlags.DataNone, 0),
            _ => Trigger(IrqIndex.Msix, IrqSetFlags.DataNone, 0),
        };

        private static SetIrqs Trigger(IrqIndex index, IrqSetFlags data, int count) => new(
            (uint)index, 0, (uint)count, IrqSetFlags.ActionTrigger | data,
            Events: data == IrqSetFlags.DataEventfd ? Enumerable.Range(0, count).Select(_ => EventRef.Of(new FakeTarget())).ToArray() : default);

        private void CheckMapping(RegionMapping mapping, int of)
        {
            var expected = of != session || !HasSession ? Errno.ENODEV : CanReach ? Errno.None : Errno.EIO;
            Assert.Equal(expected, mapping.Read(8, new byte[8]).Error.Errno);
        }

        private void CheckBuffer(DmaBuf buffer, int of)
        {
            if (of != session || !HasSession)
                Assert.True(buffer.IsDetached && buffer.IsRevoked, "A buffer outlived its session.");
            else if (!CanReach)
                Assert.True(buffer.IsRevoked, "INV-1: a buffer is usable where memory is not.");
        }

        private Errno Begin(VfioResult opened)
        {
            if (opened.IsOk)
            {
                session++;
                (err, errors, wake) = (new FakeTarget(), 0, new FakeTarget());
                (req, requests, listens) = (new FakeTarget(), 0, false);
            }

            return opened.Error.Errno;
        }

        private Errno Engage(FakeTarget? target)
        {
            var entered = core.EnterLowPower(target);
            if (entered.IsOk)
                (engaged, wake) = (true, target ?? new FakeTarget());
            return entered.Error.Errno;
        }

        private Errno Map()
        {
            var mapped = core.Map(CardFunction.MemoryBar);
            if (mapped.IsOk)
                mappings.Add((mapped.Value, session));
            return mapped.Error.Errno;
        }

        private Errno Export()
        {
            var exported = core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]);
            if (exported.IsOk)
                buffers.Add((exported.Value, session));
            return exported.Error.Errno;
        }

        private Errno Config(int offset, params byte[] bytes) => core.Write(RegionIndex.Config, (ulong)offset, bytes).Error.Errno;
    }

    private static readonly string[] Methods = ["flr", "bus"];

    private static Errno Fault(int value) => (value % 4) switch
    {
        0 => Errno.EAGAIN,
        1 => Errno.EIO,
        _ => Errno.None,
    };
}
