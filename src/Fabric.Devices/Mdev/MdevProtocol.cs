using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Mdev;

/// <summary>
/// Something asked of the host about mediated devices; answered with its own reply or with <see cref="DeviceFailed"/>. Errors of all that name a
/// UUID: ENODEV the host defines none such, EAGAIN it is being changed already.
/// </summary>
public abstract record MdevRequest : HostRequest;

/// <summary>Asks for what the host's devices can be made of. Answered with <see cref="MdevTypesListed"/>.</summary>
public sealed record ListMdevTypes : MdevRequest
{
    public static ListMdevTypes Instance { get; } = new();
}

public sealed record MdevTypesListed(ImmutableArray<MdevTypeOfParent> Types) : HostReply;

public sealed record MdevTypeOfParent(string Parent, MdevType Type);

/// <summary>Asks for the definitions and what is there of them. Answered with <see cref="MdevsListed"/>.</summary>
public sealed record ListMdevs : MdevRequest
{
    public static ListMdevs Instance { get; } = new();
}

/// <param name="Mdevs">By parent and UUID.</param>
/// <param name="Unusable">What was found at the start and is left alone.</param>
public sealed record MdevsListed(ImmutableArray<MdevStatus> Mdevs, ImmutableArray<UnusableDefinition> Unusable) : HostReply;

/// <summary>
/// Defines a device; it is not made yet. Answered with <see cref="MdevChanged"/> when that is on disk. Errors: ENODEV no such parent, EINVAL no such
/// type of it, EEXIST the UUID is defined already, EIO it cannot be written.
/// </summary>
public sealed record DefineMdev(Guid Uuid, string Parent, string Type, bool AutoStart, string By) : MdevRequest;

/// <summary>
/// Has a defined device made, and its driver bound to it. Answered with <see cref="MdevChanged"/> when it is probed. Errors: EEXIST started already;
/// ENOSPC; the parent's own.
/// </summary>
public sealed record StartMdev(Guid Uuid, string By) : MdevRequest;

/// <summary>
/// Takes a started device away, as <see cref="RemoveDevice"/> does: its holder is asked for release. Answered with <see cref="MdevChanged"/> when
/// it is gone. Errors: EINVAL not started.
/// </summary>
/// <param name="ForceAfter">As of <see cref="RemoveDevice"/>.</param>
public sealed record StopMdev(Guid Uuid, string By, TimeSpan? ForceAfter = null) : MdevRequest;

/// <summary>Forgets a definition. Answered with <see cref="MdevChanged"/> when that is on disk. Errors: EBUSY it is started; EIO.</summary>
public sealed record UndefineMdev(Guid Uuid, string By) : MdevRequest;

/// <summary>As it is now; of one that is defined no more, as it was.</summary>
public sealed record MdevChanged(MdevStatus Mdev) : HostReply;

public enum MdevState
{
    /// <summary>Its definition is being written.</summary>
    Defining,

    /// <summary>Defined, and not there.</summary>
    Stopped,

    /// <summary>Being made, or probed.</summary>
    Starting,

    /// <summary>There: a device of the host.</summary>
    Started,

    /// <summary>On its way out: its holder is asked for release.</summary>
    Stopping,

    /// <summary>Its definition is being deleted.</summary>
    Undefining,
}

/// <summary>A mediated device as its host sees it.</summary>
/// <param name="Address">Where it is; null where it is not there.</param>
/// <param name="Reason">Why it is not there although it should be, or what it waits for.</param>
public sealed record MdevStatus(MdevDefinition Definition, MdevState State, PciAddress? Address, string? Reason);
