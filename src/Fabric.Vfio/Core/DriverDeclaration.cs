using Fabric.Vfio.Migration;

namespace Fabric.Vfio.Core;

/// <summary>The callbacks of migration (kernel: mig_ops).</summary>
[Flags]
public enum MigrationCallbacks
{
    None = 0,
    SetState = 1 << 0,
    GetState = 1 << 1,
    GetDataSize = 1 << 2,
    All = SetState | GetState | GetDataSize,
}

/// <summary>The callbacks of DMA logging (kernel: log_ops).</summary>
[Flags]
public enum LoggingCallbacks
{
    None = 0,
    Start = 1 << 0,
    Stop = 1 << 1,
    ReadAndClear = 1 << 2,
    All = Start | Stop | ReadAndClear,
}

/// <summary>Told of the resets of a driver's function (IO-51). Called while the function is being reset, so it touches nothing and asks for nothing.</summary>
public interface IResetObserver
{
    void ResetPrepare();

    /// <param name="outcome">EAGAIN: nothing was reset, the function was being reset by another.</param>
    void ResetDone(VfioResult outcome);
}

/// <summary>What a driver says of itself when it registers a function with the core (LC-3).</summary>
/// <param name="Name">The op set's name, as the bus knows the driver.</param>
public sealed record DriverDeclaration(string Name)
{
    /// <summary>vfio-pci itself: no behaviour of its own, SR-IOV, and a denylist.</summary>
    public static DriverDeclaration VfioPci { get; } = new("vfio-pci") { ConfiguresSriov = true, HasDenylist = true };

    /// <summary>What it gives of mig_ops; None where it has no such table.</summary>
    public MigrationCallbacks Migration { get; init; }

    public MigrationFlags MigrationFlags { get; init; }

    /// <summary>What it gives of log_ops; None where it has no such table.</summary>
    public LoggingCallbacks Logging { get; init; }

    /// <summary>Has the callback sriov_configure: plain vfio-pci alone (SV-4).</summary>
    public bool ConfiguresSriov { get; init; }

    /// <summary>Refuses the devices of the denylist (LC-2).</summary>
    public bool HasDenylist { get; init; }

    /// <summary>Can say where the function's BARs lie, which DMA_BUF takes (IO-90).</summary>
    public bool ProvidesDmaBufs { get; init; } = true;

    public IResetObserver? Resets { get; init; }
}
