using CsCheck;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mtty;

/// <summary>
/// Anything in any order on a real card: transitions, reads, writes, resets that the driver is told of and resets that it is not, a card that
/// does not answer for a while. MG-53 is looked at after each step. CsCheck prints the seed of a failure, and the script that it shrank to.
/// </summary>
public sealed class MttyWalkTests
{
    private abstract record Step;

    private sealed record Go(MigrationState Target) : Step;

    private sealed record Read(int Length) : Step;

    private sealed record Write(int Length, bool Garbage) : Step;

    private sealed record Send(byte Value) : Step;

    private sealed record Close : Step;

    private sealed record Reset : Step;

    private sealed record LinkReset : Step;

    /// <summary>The card does not answer from the n-th access of the next transition on, until that has ended.</summary>
    private sealed record Silence(int FromAccess, MigrationState Target) : Step;

    private static readonly Gen<MigrationFlags> AnyFlags = Gen.Select(Gen.Bool, Gen.Bool, (p2p, preCopy) =>
        MigrationFlags.StopCopy | (p2p ? MigrationFlags.P2P : 0) | (preCopy ? MigrationFlags.PreCopy : 0));

    private static readonly Gen<Step> AnyStep = Gen.Frequency(
        (10, Gen.Enum<MigrationState>().Select(target => (Step)new Go(target))),
        (4, Gen.Int[0, 100].Select(length => (Step)new Read(length))),
        (4, Gen.Select(Gen.Int[0, 100], Gen.Int[0, 9], (length, kind) => (Step)new Write(length, kind == 0))),
        (2, Gen.Byte.Select(value => (Step)new Send(value))),
        (1, Gen.Int[0, 2].Select(kind => (Step)(kind switch { 0 => new Close(), 1 => new Reset(), _ => new LinkReset() }))),
        (1, Gen.Select(Gen.Int[0, 4], Gen.Enum<MigrationState>(), (access, target) => (Step)new Silence(access, target))));

    [Fact]
    public void Whatever_is_asked_and_whatever_befalls_the_card_the_invariants_hold_MG_53_TS_2() =>
        Gen.Select(AnyFlags, AnyStep.List[1, 40]).Sample((flags, steps) => Walk(flags, steps), iter: 4_000);

    private static void Walk(MigrationFlags flags, List<Step> steps)
    {
        using var machine = new SerialMachine(flags);
        var streams = new List<IMigrationStream>();
        var (loaded, isSpoiled, wasLost) = (0, false, false);
        foreach (var step in steps)
        {
            var before = machine.State;
            machine.Noted.Arcs.Clear();
            switch (step)
            {
                case Go go:
                    Set(go.Target, mayFail: wasLost);
                    break;
                case Silence silence:
                    var accesses = 0;
                    machine.Window.Before = () => accesses++ < silence.FromAccess ? VfioResult.Ok : VfioResult.Fail(Errno.EIO, "It does not answer.");
                    Set(silence.Target, mayFail: true);
                    machine.Window.Before = () => VfioResult.Ok;
                    break;
                case Read read when streams.Count > 0:
                    // (c) a read gives 0 in STOP_COPY alone, but for one that asks for nothing.
                    var got = streams[^1].Read(new byte[read.Length]);
                    Assert.False(got is { IsOk: true, Value: 0 } && before != StopCopy);
                    break;
                case Write write when streams.Count > 0:
                    var part = Math.Min(write.Length, SerialMachine.GoodStream.Length - loaded);
                    var bytes = write.Garbage ? new byte[write.Length] : SerialMachine.GoodStream.AsSpan(loaded, part).ToArray();
                    var written = streams[^1].Write(bytes);
                    if (written.IsOk && !write.Garbage)
                        loaded += part;
                    isSpoiled |= write.Garbage ? written.Error.Errno != Errno.EBADF : written.Error.Errno is Errno.EFAULT or Errno.ENOMEM;
                    break;
                case Send send:
                    machine[UartRegister.Data] = send.Value;
                    break;
                case Close when streams.Count > 0:
                    streams[^1].Close();
                    Assert.Equal(before, machine.State);
                    break;
                case Reset:
                    machine.Reset();
                    wasLost = false;
                    AssertFresh();
                    break;
                case LinkReset:
                    Assert.True(machine.Card.Reset(ResetMethod.DeviceSpecific).IsOk);
                    machine.Card.WriteConfig(Pci.ConfigOffset.Command, [1, 0]);
                    wasLost = true;
                    break;
            }

            // (a) at most one stream is alive.
            Assert.InRange(streams.Count(stream => stream.GetPrecopyInfo().Error.Errno is not (Errno.ENODEV or Errno.EBADF)), 0, 1);
            // (b) a stream comes of the last hop alone.
            Assert.DoesNotContain(machine.Noted.Arcs.SkipLast(1), hop => MigrationArcs.OpensStream(hop.From, hop.To) != StreamDirection.None);
            // (e) STOP_COPY does not go back to pre-copy.
            Assert.False(before == StopCopy && machine.State is PreCopy or PreCopyP2P);
            // (f) a path has four hops at most.
            Assert.InRange(machine.Noted.Arcs.Count, 0, 4);
            // What GET tells is what the card does, unless it was reset behind the driver's back.
            if (machine.State != Error && !wasLost)
                Assert.Equal(machine.State is Stop or StopCopy or Resuming, machine.IsSuspended);
            if (machine.State == Error)
                wasLost = true;
        }

        // (d) after anything a reset leads to RUNNING, and the card works.
        machine.Reset();
        AssertFresh();
        Assert.Equal([5], machine.With(5).Received());

        void Set(MigrationState target, bool mayFail)
        {
            var (from, wasLoaded, wasSpoiled) = (machine.State, loaded == SerialMachine.GoodStream.Length, isSpoiled);
            var set = machine.Machine.Set(target);
            if (set is { IsOk: true, Value.Stream: { } opened })
            {
                streams.Add(opened);
                (loaded, isSpoiled) = (0, false);
            }

            var leaves = from == Resuming && target != Resuming;
            if (mayFail || (leaves && wasSpoiled))
                return;
            // Nothing befell card or stream: the way decides alone, and whether a state that is left was loaded whole.
            var isWay = from == target || MigrationArcs.Next(from, target, flags).IsOk;
            Assert.Equal(isWay && (!leaves || wasLoaded), set.IsOk);
            if (set.IsOk)
                Assert.Equal(target, machine.State);
        }

        void AssertFresh()
        {
            Assert.Equal((Running, false), (machine.State, machine.IsSuspended));
            Assert.DoesNotContain(streams, stream => stream.GetPrecopyInfo().Error.Errno is not (Errno.ENODEV or Errno.EBADF));
        }
    }
}
