using Fabric.Pci;

namespace Fabric.Vfio;

/// <summary>
/// What a driver reaches beside its own function, where a kernel driver calls into the PF's driver, reads firmware's tables or maps memory that
/// firmware describes. A function without any of it has <see cref="None"/>.
/// </summary>
public interface IFunctionPlatform
{
    /// <summary>Nothing beside the function.</summary>
    static IFunctionPlatform None { get; } = new Nothing();

    /// <summary>The way to the driver of the PF; null where none is loaded, and for a function that is no VF (VD-0).</summary>
    IPfChannel? PhysicalFunction => null;

    /// <summary>A property that firmware gives of the function (ACPI _DSD), such as <c>nvidia,gpu-mem-size</c>.</summary>
    bool TryGetProperty(string name, out ulong value)
    {
        value = 0;
        return false;
    }

    /// <summary>A property that is more than a number, such as a utility string; empty where there is none.</summary>
    ReadOnlyMemory<byte> GetProperty(string name) => default;

    /// <summary>Memory of the host that belongs to the function. Errors: ENODEV where firmware describes none there, EINVAL.</summary>
    VfioResult<IPlatformMemory> MapMemory(ulong address, ulong bytes) =>
        new VfioError(Errno.ENODEV, "Firmware describes no memory of this function there.");

    /// <summary>Reads config space of a function of the host: this one, its host bridge. Errors: ENODEV where there is none, EINVAL.</summary>
    VfioResult ReadConfig(PciAddress function, int offset, Span<byte> destination) =>
        VfioResult.Fail(Errno.ENODEV, "The host has no such function.");

    private sealed class Nothing : IFunctionPlatform;
}

/// <summary>A piece of memory outside the function's BARs. Safe to use from any thread.</summary>
public interface IPlatformMemory
{
    /// <summary>Bytes.</summary>
    ulong Size { get; }

    /// <summary>Errors: EINVAL past its end, EIO where the memory does not answer.</summary>
    VfioResult Read(ulong offset, Span<byte> destination);

    /// <summary>Errors: EINVAL past its end, EIO where the memory does not answer.</summary>
    VfioResult Write(ulong offset, ReadOnlySpan<byte> source);
}

/// <summary>
/// Commands about one VF that the driver of its PF gives to hardware (kernel: mlx5_cmd_exec, pds_client_adminq_cmd, virtio_pci_admin_*,
/// xe_sriov_vfio_*). One caller at a time. Bytes are laid out as the hardware's specification has them.
/// </summary>
public interface IPfChannel
{
    /// <summary>Which hardware's commands it takes, such as <c>mlx5</c>.</summary>
    string Protocol { get; }

    /// <summary>
    /// Gives a command and waits for its reply, which the PF's driver bounds in time. Returns the reply's bytes. Errors: ENOTCONN when the PF's
    /// driver has gone, ENOSPC for a reply that does not fit, EIO, ETIMEDOUT. What the hardware refuses it says in its reply.
    /// </summary>
    VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply);

    /// <summary>
    /// Gives a command that goes on by itself; <paramref name="completed"/> is called once, from the hardware's own thread, maybe before this
    /// returns. Until then the reply's memory is the hardware's. Errors, at once and without a completion: as of <see cref="Execute"/>; EBUSY
    /// when it has as many of them as it takes.
    /// </summary>
    VfioResult Submit(ReadOnlyMemory<byte> command, Memory<byte> reply, Action<VfioResult<int>> completed) =>
        VfioResult.Fail(Errno.EOPNOTSUPP, "The PF's driver takes commands one by one; wait for each.");

    /// <summary>Who is told what happens at the PF, from the hardware's own thread; null ends it.</summary>
    void ReportTo(Action<PfEvent>? sink);
}

/// <summary>What a VF's driver hears of its PF.</summary>
public enum PfEvent
{
    /// <summary>The PF's driver has gone: every command is ENOTCONN from now on.</summary>
    Detached,

    /// <summary>The PF's firmware restarts: what it knew of a migration is lost.</summary>
    FirmwareReset,

    /// <summary>A migration that is under way has a fresh start-up set (MG-26).</summary>
    FreshStartUpSet,
}
