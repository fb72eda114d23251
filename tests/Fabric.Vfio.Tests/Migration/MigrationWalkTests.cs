using CsCheck;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Tests.Migration;

/// <summary>Any requests, failures and resets in any order, held against the invariants of MG-53. CsCheck prints the seed of a failure.</summary>
public sealed class MigrationWalkTests
{
    private enum Fault
    {
        None,
        Fails,
        Breaks,
        ResetsWithin,
        StreamOutOfPlace,

        /// <summary>It is on its way for some looks, and may meet another event there.</summary>
        TakesTime,
    }

    /// <summary>What comes between two requests.</summary>
    private enum Event
    {
        Nothing,
        Reset,
        ResetThatWorks,
        ResetThatFails,
        Close,
        Failure,
    }

    /// <param name="Looks">So many times an arc that takes time is on its way still.</param>
    /// <param name="OnTheWay">What comes each time.</param>
    private sealed record Step(MigrationState Target, Fault Fault, int OnArc, int Looks, Event OnTheWay, Event Then)
    {
        public override string ToString() =>
            $"{Target}{(Fault == Fault.None ? "" : $" {Fault} on arc {OnArc} ({Looks}, {OnTheWay})")}{(Then == Event.Nothing ? "" : $", {Then}")}";
    }

    private static readonly Gen<MigrationFlags> AnyFlags = Gen.Select(Gen.Bool, Gen.Bool, (p2p, preCopy) =>
        MigrationFlags.StopCopy | (p2p ? MigrationFlags.P2P : 0) | (preCopy ? MigrationFlags.PreCopy : 0));

    private static readonly Gen<Event> AnyEvent = Gen.Frequency((5, Gen.Const(Event.Nothing)), (2, Gen.Enum<Event>()));

    private static readonly Gen<Step> AnyStep = Gen.Select(
        Gen.Enum<MigrationState>(), Gen.Frequency((6, Gen.Const(Fault.None)), (5, Gen.Enum<Fault>())), Gen.Int[0, 3], Gen.Int[0, 3],
        AnyEvent, AnyEvent,
        (target, fault, onArc, looks, onTheWay, then) => new Step(target, fault, onArc, looks, onTheWay, then));

    [Fact]
    public void Whatever_is_asked_and_whatever_fails_the_invariants_hold_MG_53_INV_8() =>
        Gen.Select(AnyFlags, AnyStep.List[1, 30]).Sample((flags, steps) => Walk(flags, steps), iter: FuzzRun.Times(5000));

    private static void Walk(MigrationFlags flags, List<Step> steps)
    {
        var driver = new FakeMigration(flags);
        var machine = MigrationMachine.Register(driver).Value;
        var streams = new List<IMigrationStream>();
        foreach (var step in steps)
        {
            var (before, arc, faulted, looks) = (machine.State, 0, false, step.Looks);
            driver.Arcs.Clear();
            driver.Instead = (_, _) =>
            {
                if (arc++ != step.OnArc || step.Fault == Fault.None)
                    return null;
                faulted = true;
                switch (step.Fault)
                {
                    case Fault.Fails:
                        return ArcResult.Fails(new VfioError(Errno.EIO, "It failed."));
                    case Fault.Breaks:
                        return ArcResult.Breaks(new VfioError(Errno.EIO, "It broke."));
                    case Fault.StreamOutOfPlace:
                        return driver.Open();
                    case Fault.TakesTime:
                        // The next look is at the same arc.
                        arc -= looks > 0 ? 1 : 0;
                        faulted = false;
                        return looks-- > 0 ? ArcResult.OnItsWay(TimeSpan.FromSeconds(1)) : null;
                    default:
                        machine.Reset();
                        return null;
                }
            };
            var set = machine.Set(step.Target);
            for (; set is { IsOk: true, Value.ContinuesAfter: not null }; set = machine.Continue())
            {
                var reached = machine.State;
                Assert.Equal(Errno.EBUSY, machine.Set(step.Target == Stop ? Running : Stop).Error.Errno);
                Assert.Equal((reached, reached), (machine.State, set.Value.State));
                faulted = Happens(machine, step.OnTheWay) || step.OnTheWay == Event.Failure;
                if (faulted)
                    Assert.Equal(Errno.EIO, machine.Continue().Error.Errno);
                foreach (var stream in streams)
                    Assert.False(stream.Read(new byte[1]).IsOk);
            }

            if (set is { IsOk: true, Value.Stream: { } opened })
                streams.Add(opened);

            // (a) at most one stream is alive.
            Assert.InRange(driver.Opened.Count(data => !data.IsClosed), 0, 1);
            // (b) a stream comes of the last hop alone.
            Assert.DoesNotContain(driver.Arcs.SkipLast(1), hop => MigrationArcs.OpensStream(hop.From, hop.To) != StreamDirection.None);
            // (c) a read gives 0 in STOP_COPY alone.
            foreach (var stream in streams)
                Assert.False(stream.Read(new byte[1]) is { IsOk: true, Value: 0 } && machine.State != StopCopy);
            // (e) STOP_COPY does not go back to pre-copy.
            Assert.False(before == StopCopy && set.IsOk && (step.Target is PreCopy or PreCopyP2P));
            // (f) a path has four hops at most.
            Assert.InRange(driver.Arcs.Count, 0, 4);
            Assert.True(set.IsOk || faulted || before == Error || !MigrationArcs.Next(before, step.Target, flags).IsOk);

            // (d) after anything a reset leads to RUNNING, with no stream; so does a close (INV-3, INV-8).
            if (Happens(machine, step.Then))
                Assert.Equal((Running, 0), (machine.State, driver.Opened.Count(data => !data.IsClosed)));
            Assert.False(machine.View.Resetting || machine.View.ResetDeferred);
        }
    }

    /// <summary>Whether the device is as new after it.</summary>
    private static bool Happens(MigrationMachine machine, Event then)
    {
        var before = machine.View;
        switch (then)
        {
            case Event.Reset:
                machine.Reset();
                return true;
            case Event.ResetThatWorks or Event.ResetThatFails:
                machine.BeginReset();
                Assert.Equal(Errno.EAGAIN, machine.Set(before.State == Running ? Stop : Running).Error.Errno);
                machine.EndReset(then == Event.ResetThatWorks);
                if (then == Event.ResetThatFails)
                    Assert.Equal(before, machine.View);
                return then == Event.ResetThatWorks;
            case Event.Close:
                machine.OptIntoPrecopyInfoV2();
                machine.Close();
                Assert.False(machine.View.PrecopyInfoV2);
                return true;
            case Event.Failure:
                machine.Fail();
                Assert.Equal(Error, machine.State);
                return false;
            default:
                return false;
        }
    }
}
