using System.Collections.Immutable;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Core.Interrupts;

/// <summary>The interrupts of a device at one moment, to be read (contract §11.1).</summary>
/// <param name="Active">Null: none of INTx, MSI and MSI-X.</param>
/// <param name="Vectors">Of MSI or MSI-X, one per vector that the device has; empty while neither is active.</param>
/// <param name="MsiQueueMax">Log2 (IO-46).</param>
/// <param name="HasErr">An eventfd is registered for ERR.</param>
/// <param name="HasReq">An eventfd is registered for REQ.</param>
internal sealed record InterruptView(
    IrqIndex? Active, IntxView Intx, ImmutableArray<VectorView> Vectors, int MsiQueueMax, bool HasErr, bool HasReq);

/// <param name="HasTarget">False while enabled: the user asked for INTx without an eventfd, and gets no interrupt.</param>
/// <param name="IsVirtuallyDisabled">DisINTx as the user sees it is set (CF-14).</param>
internal readonly record struct IntxView(
    IntxMasking Masking, bool IsEnabled, bool HasTarget, bool HasResample, bool IsMasked, bool IsVirtuallyDisabled);

/// <param name="IsAllocated">The host holds an interrupt for it.</param>
/// <param name="IsAttached">It has an eventfd.</param>
internal readonly record struct VectorView(bool IsAllocated, bool IsAttached);
