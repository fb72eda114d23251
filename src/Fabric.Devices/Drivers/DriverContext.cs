using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Drivers;

/// <summary>What a driver is given when it is bound to a function.</summary>
/// <param name="Core">What stands behind it: the core, or the next driver of a stack; messages are the only way in.</param>
public sealed record DriverContext(PciAddress Address, PciIds Ids, IActorRef Core)
{
    /// <summary>The host's clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>What there is of the function beside itself: its PF's driver, firmware's tables.</summary>
    public IFunctionPlatform Platform { get; init; } = IFunctionPlatform.None;

    /// <summary>
    /// Sees every request before the driver does, and fails the driver where it throws: whoever wraps a registration's Create can trace a driver that
    /// way, or try it.
    /// </summary>
    public Action<DeviceRequest>? Tap { get; init; }

    /// <summary>The sessions that the device is open for, as far as the driver knows. They outlive a restart of the driver.</summary>
    public HeldSessions Held => held ??= new HeldSessions();

    /// <summary>How long what stands behind the driver may take to answer it: longer than it takes to give up a call that hangs.</summary>
    internal TimeSpan CoreDeadline { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Six BARs as the host has them; empty in a test of a driver alone.</summary>
    public IReadOnlyList<PciBar> Bars { get; init; } = [];

    private HeldSessions? held;

    /// <summary>Who watches calls to hardware; Nobody in a test of a driver alone.</summary>
    internal IActorRef Host { get; init; } = ActorRefs.Nobody;
}

/// <summary>Touched by the driver alone. More than one where the device is open by its group (LC-12).</summary>
public sealed class HeldSessions
{
    private readonly List<SessionId> open = [];

    /// <summary>The first that is open still; the default where there is none.</summary>
    public SessionId First => open.FirstOrDefault();

    public bool IsLast(SessionId session) => open.Count == 1 && open[0] == session;

    public bool Contains(SessionId session) => open.Contains(session);

    public void Add(SessionId session)
    {
        if (!open.Contains(session))
            open.Add(session);
    }

    public void Remove(SessionId session) => open.Remove(session);

    public void Clear() => open.Clear();
}
