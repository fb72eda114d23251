using Akka.Actor;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests.Lab;

/// <summary>A call that runs on the lane, and where it is held: of the first of three functions of one slot, open before it or not.</summary>
/// <param name="What">As the mailbox calls it.</param>
/// <param name="Ask">The message that sets it off.</param>
/// <param name="GivenUp">Whether a message says that it was given up, to who asked.</param>
internal sealed record SlowCall(string What, Point Point, Func<SessionId, IActorRef, object> Ask, Predicate<object> GivenUp)
{
    private static readonly byte[] D3Hot = [3];

    public bool IsOpen { get; init; } = true;

    /// <summary>It has the other members of the set in hand.</summary>
    public bool IsOfSet { get; init; }

    /// <summary>Low power was entered before.</summary>
    public bool IsAsleep { get; init; }

    /// <summary>No reset of the function works.</summary>
    public bool ResetIsBroken { get; init; }

    /// <summary>The session is open after it.</summary>
    public bool KeepsSession { get; init; } = true;

    /// <summary>Opens and resets that come meanwhile meet contention.</summary>
    public bool ByHost { get; init; }

    /// <summary>The device is left when it has been given up; its supervisor is told, nobody else.</summary>
    public bool Leaves { get; init; }

    public static IReadOnlyList<SlowCall> All { get; } =
    [
        new("open", Point.Reset, static (_, consumer) => new OpenDevice("somebody", consumer), IsEio) { IsOpen = false, KeepsSession = false },
        new("close", Point.Reset, static (session, _) => new CloseDevice(session), IsEio) { KeepsSession = false },
        new("reset of its set", Point.BusReset, static (session, _) => new CloseDevice(session), IsEio)
        {
            KeepsSession = false, ResetIsBroken = true, IsOfSet = true,
        },
        new("reset", Point.Reset, static (session, _) => new ResetDevice(session), IsEio),
        new("hot reset", Point.BusReset, static (session, _) => new HotResetDevice(session, []), IsEio) { IsOfSet = true },
        new(
            "write to config space", Point.ConfigWrite, static (session, _) => new WriteRegion(session, RegionIndex.Config, LabFunction.PowerControl, D3Hot),
            IsEio),
        new("change of power state", Point.ConfigRead, static (session, _) => new EnterLowPower(session, null), IsEio),
        new("change of power state", Point.ConfigWrite, static (session, _) => new ExitLowPower(session), IsEio) { IsAsleep = true },
        new("reset", Point.Reset, static (_, _) => new ResetCore(ResetScope.Function), IsResetEio) { ByHost = true },
        new("reset by flr", Point.Reset, static (_, _) => new ResetCore(ResetScope.Function, "flr"), IsResetEio) { ByHost = true },
        new("hot reset of its set", Point.BusReset, static (_, _) => new ResetCore(ResetScope.DeviceSet), IsResetEio) { ByHost = true, IsOfSet = true },
        new("power cycle of its slot", Point.Power, static (_, _) => new ResetCore(ResetScope.Power), IsResetEio) { ByHost = true, IsOfSet = true },
        new("read of config space", Point.ConfigRead, static (_, _) => CheckCore.Instance, IsResetEio) { ByHost = true },
        new("making 2 VFs", Point.Vfs, static (_, _) => new SetVirtualFunctions(2), IsEio)
        {
            ByHost = true,
        },
        new("close", Point.Reset, static (_, _) => new EndSessions("the test says so"), static message => message is CoreDone) { KeepsSession = false },
        new("unregistering", Point.ConfigWrite, static (_, _) => LeaveBus.Instance, static _ => false)
        {
            IsOpen = false, KeepsSession = false, ByHost = true, Leaves = true,
        },
    ];

    public override string ToString() => $"{What} ({Ask(default, ActorRefs.Nobody).GetType().Name})";

    private static bool IsEio(object message) => message is DeviceFailed { Error.Errno: Errno.EIO };

    private static bool IsResetEio(object message) => message is CoreWasReset { Outcome.Error.Errno: Errno.EIO, Answers: false };
}
