using Fabric.Vfio.Uapi;

namespace Fabric.Vfio;

/// <summary>
/// The host's side of a function's interrupts. A handler is signalled from the hardware's own thread; when a call that takes a handler
/// away has returned, it is not signalled any more. The line's handler reads and writes config space and masks the line while it is
/// signalled, so hardware holds nothing then that those calls wait for.
/// </summary>
public interface IFunctionInterrupts
{
    /// <summary>Whether the host has an interrupt for the function's pin (CF-60).</summary>
    bool HasLine { get; }

    /// <summary>Whether MSI-X vectors can be added while some are in use (LC-20, IO-44).</summary>
    bool CanGrowMsix { get; }

    /// <summary>Connects the INTx line: signalled when it is asserted and not masked. Errors: ENODEV without a line, EBUSY where an exclusive one is taken.</summary>
    /// <param name="exclusive">The function cannot be masked by DisINTx, so the line is not shared (CF-61).</param>
    VfioResult ConnectLine(IEventTarget handler, bool exclusive);

    void DisconnectLine();

    /// <summary>Masks or unmasks the line at the host's interrupt controller: how an exclusive line is masked (CF-61).</summary>
    void MaskLine(bool masked);

    /// <summary>Allocates vectors 0 to count - 1. The value is how many there are to be had: fewer than asked for means that none was taken (IO-42).</summary>
    /// <param name="type">MSI or MSI-X.</param>
    VfioResult<int> Allocate(IrqIndex type, int count);

    /// <summary>Adds one MSI-X vector (IO-44). Errors: EINVAL where the hardware cannot, ENOSPC where there is none left.</summary>
    VfioResult Grow(int vector);

    /// <summary>Frees all vectors.</summary>
    void Free();

    /// <summary>Attaches a handler to an allocated vector; for MSI-X the table entry is written anew (IO-45). Errors: ENOMEM.</summary>
    VfioResult Connect(int vector, IEventTarget handler);

    void Disconnect(int vector);
}

/// <summary>A function without interrupts.</summary>
public sealed class NoInterrupts : IFunctionInterrupts
{
    private NoInterrupts()
    {
    }

    public static NoInterrupts Instance { get; } = new();

    public bool HasLine => false;

    public bool CanGrowMsix => false;

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive) => None;

    public void DisconnectLine()
    {
    }

    public void MaskLine(bool masked)
    {
    }

    public VfioResult<int> Allocate(IrqIndex type, int count) => None.Error;

    public VfioResult Grow(int vector) => None;

    public void Free()
    {
    }

    public VfioResult Connect(int vector, IEventTarget handler) => None;

    public void Disconnect(int vector)
    {
    }

    private static VfioResult None => VfioResult.Fail(Errno.ENODEV, "The host has no interrupt for this function.");
}
