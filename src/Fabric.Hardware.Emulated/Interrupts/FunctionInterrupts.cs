using System.Numerics;
using Fabric.Hardware.Emulated.Config;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Emulated.Interrupts;

/// <summary>
/// Both sides of a function's interrupts: the function's (a line with a level, messages of MSI and MSI-X), and the host's, which programs
/// the capability and the MSI-X table as a host does. A message gets through only where the function may master the bus, the capability is
/// enabled and its table entry is armed; a reset loses all three, and nobody is told.
/// </summary>
internal sealed class FunctionInterrupts(EmulatedFunction function, BarMemory memory, bool canGrow, int available) : IFunctionInterrupts
{
    /// <summary>Where messages go: the interrupt controller's window of a PC.</summary>
    private const uint MessageAddress = 0xfee0_0000;

    private const int EntryAddress = 0;
    private const int EntryData = 8;
    private const int EntryControl = 12;

    private readonly ConfigLayout layout = function.Layout;
    private readonly SortedDictionary<int, InterruptConnection?> vectors = [];
    private InterruptConnection? line;
    private IrqIndex? type;
    private bool isAsserted;
    private bool isLineMasked;
    private bool isInService;
    private bool isDueAgain;

    public bool HasLine => layout.HasPin;

    public bool CanGrowMsix => canGrow && layout.Msix is not null;

    // ---- The line --------------------------------------------------------------------------------------------------------------------

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive)
    {
        if (!HasLine)
            return VfioResult.Fail(Errno.ENODEV, "The host has no interrupt line for this function.");
        lock (function.Clock)
        {
            if (line is not null)
                return VfioResult.Fail(Errno.EBUSY, "The function's line is connected already.");
            (line, isLineMasked) = (new InterruptConnection(handler), false);
        }

        Deliver();
        return VfioResult.Ok;
    }

    public void DisconnectLine()
    {
        InterruptConnection? ending;
        lock (function.Clock)
            (ending, line) = (line, null);
        ending?.Close();
    }

    public void MaskLine(bool masked)
    {
        lock (function.Clock)
            isLineMasked = masked;
        if (!masked)
            Deliver();
    }

    /// <summary>The function asserts its line or lets go of it.</summary>
    public void SetLine(bool asserted)
    {
        lock (function.Clock)
            ShowLine(asserted);
        Deliver();
    }

    /// <summary>
    /// Brings an asserted line in if nothing keeps it quiet; called after whatever may have lifted a mask. A level that comes up while its
    /// handler runs is brought in once more when that has returned.
    /// </summary>
    public void Deliver()
    {
        while (true)
        {
            InterruptConnection due;
            lock (function.Clock)
            {
                if (!isAsserted || isLineMasked || line is null || (function.Command & PciCommand.InterruptDisable) != 0)
                    return;
                if (isInService)
                {
                    isDueAgain = true;
                    return;
                }

                (due, isInService, isDueAgain) = (line, true, false);
            }

            due.Signal();
            lock (function.Clock)
            {
                isInService = false;
                if (!isDueAgain)
                    return;
            }
        }
    }

    private void ShowLine(bool asserted)
    {
        isAsserted = asserted && HasLine;
        if (layout.HasInterruptDisable)
            function.PutStatus(PciStatus.InterruptPending, isAsserted);
    }

    // ---- Messages --------------------------------------------------------------------------------------------------------------------

    public VfioResult<int> Allocate(IrqIndex type, int count)
    {
        var most = type switch
        {
            IrqIndex.Msi => layout.Msi?.MaxVectors ?? 0,
            IrqIndex.Msix => layout.Msix?.TableSize ?? 0,
            _ => 0,
        };
        if (most == 0)
            return new VfioError(Errno.ENODEV, "The function has no such interrupts.");
        if (count > Math.Min(most, available))
            return Math.Min(most, available);
        lock (function.Clock)
        {
            this.type = type;
            for (var vector = 0; vector < count; vector++)
                vectors[vector] = null;
            Program(type, count);
        }

        return count;
    }

    public VfioResult Grow(int vector)
    {
        lock (function.Clock)
        {
            if (type != IrqIndex.Msix || !CanGrowMsix || vector >= layout.Msix!.Value.TableSize)
                return VfioResult.Fail(Errno.EINVAL, "The function has no such vector to be added.");
            if (vectors.Count >= available)
                return VfioResult.Fail(Errno.ENOSPC, "The host has no interrupt vector left for this function.");
            vectors.TryAdd(vector, null);
            return VfioResult.Ok;
        }
    }

    public void Free()
    {
        lock (function.Clock)
        {
            if (type is { } freed)
                Program(freed, 0);
            type = null;
            vectors.Clear();
        }

        Deliver();
    }

    public VfioResult Connect(int vector, IEventTarget handler)
    {
        var connection = new InterruptConnection(handler);
        bool pending;
        lock (function.Clock)
        {
            if (!vectors.ContainsKey(vector))
                return VfioResult.Fail(Errno.EINVAL, "The vector is not allocated.");
            vectors[vector] = connection;
            pending = type == IrqIndex.Msix && Arm(vector);
        }

        if (pending)
            connection.Signal();
        return VfioResult.Ok;
    }

    public void Disconnect(int vector)
    {
        InterruptConnection? ending;
        lock (function.Clock)
        {
            if (!vectors.TryGetValue(vector, out ending) || ending is null)
                return;
            vectors[vector] = null;
            if (type == IrqIndex.Msix && function.IsPresent)
                memory.Write32(layout.Msix!.Value.TableBar, Entry(vector) + EntryControl, 1);
        }

        ending.Close();
    }

    /// <summary>The function sends a message; what is in its way is in the way of a real one. A masked MSI-X entry keeps it pending.</summary>
    /// <returns>Whether it reached a handler.</returns>
    public bool Send(int vector)
    {
        InterruptConnection? due;
        lock (function.Clock)
        {
            if (!function.IsPresent || (function.Command & PciCommand.BusMaster) == 0 || !IsEnabled(vector))
                return false;
            if (type == IrqIndex.Msix && !IsArmed(vector))
            {
                SetPending(vector, true);
                return false;
            }

            due = vectors.GetValueOrDefault(vector);
        }

        return due?.Signal() ?? false;
    }

    /// <summary>As after a reset: the line is let go of, every table entry is masked. The function's clock is held.</summary>
    public void PowerOn()
    {
        ShowLine(false);
        if (layout.Msix is not { } msix)
            return;
        for (var vector = 0; vector < msix.TableSize; vector++)
            memory.Write32(msix.TableBar, Entry(vector) + EntryControl, 1);
    }

    /// <summary>What a host writes to the capability when it turns vectors on, or (none) off.</summary>
    private void Program(IrqIndex type, int count)
    {
        if (!function.IsPresent)
            return;
        if (type == IrqIndex.Msix)
        {
            var at = layout.Msix!.Value.Offset + MsixCapability.Control;
            function.Put16(at, (function.Get16(at) & ~MsixCapability.Enable) | (count > 0 ? MsixCapability.Enable : 0));
        }
        else
        {
            var at = layout.Msi!.Value.Offset + MsiCapability.Control;
            var log2 = count > 0 ? int.Log2((int)BitOperations.RoundUpToPowerOf2((uint)count)) : 0;
            var off = function.Get16(at) & ~(MsiCapability.Enable | MsiCapability.MultipleMessageEnable);
            function.Put32(layout.Msi.Value.Offset + MsiCapability.AddressLow, count > 0 ? MessageAddress : 0);
            function.Put16(at, off | (count > 0 ? MsiCapability.Enable | (log2 << MsiCapability.MultipleMessageEnableShift) : 0));
        }

        // A function that sends messages has no use for its line: the host turns DisINTx on with them, and off after them.
        if (layout.HasInterruptDisable && HasLine)
            function.PutCommand(PciCommand.InterruptDisable, count > 0);
    }

    private bool IsEnabled(int vector)
    {
        switch (type)
        {
            case IrqIndex.Msix:
                return vector < layout.Msix!.Value.TableSize &&
                    (function.Get16(layout.Msix.Value.Offset + MsixCapability.Control) & MsixCapability.Enable) != 0;
            case IrqIndex.Msi:
                var control = function.Get16(layout.Msi!.Value.Offset + MsiCapability.Control);
                var given = 1 << ((control & MsiCapability.MultipleMessageEnable) >> MsiCapability.MultipleMessageEnableShift);
                var hasAddress = function.Get32(layout.Msi.Value.Offset + MsiCapability.AddressLow) != 0;
                return (control & MsiCapability.Enable) != 0 && hasAddress && vector < given && !IsMsiMasked(vector);
            default:
                return false;
        }
    }

    private bool IsMsiMasked(int vector) =>
        layout.Msi is { HasMask: true } msi && (function.Get32(msi.Offset + msi.Mask) & (1u << vector)) != 0;

    private bool IsArmed(int vector) =>
        memory.Read32(layout.Msix!.Value.TableBar, Entry(vector) + EntryAddress) != 0 &&
        (memory.Read32(layout.Msix.Value.TableBar, Entry(vector) + EntryControl) & 1) == 0 &&
        (function.Get16(layout.Msix.Value.Offset + MsixCapability.Control) & MsixCapability.FunctionMask) == 0;

    /// <summary>Writes a table entry. True where a message waited for it.</summary>
    private bool Arm(int vector)
    {
        if (!function.IsPresent)
            return false;
        var bar = layout.Msix!.Value.TableBar;
        memory.Write32(bar, Entry(vector) + EntryAddress, MessageAddress);
        memory.Write32(bar, Entry(vector) + EntryData, (uint)vector);
        memory.Write32(bar, Entry(vector) + EntryControl, 0);
        return SetPending(vector, false);
    }

    /// <summary>Whether the pending bit was set before.</summary>
    private bool SetPending(int vector, bool pending)
    {
        var (bar, at) = (layout.Msix!.Value.PendingBar, layout.Msix.Value.PendingOffset + (uint)(vector / 32 * 4));
        var before = memory.Read32(bar, at);
        var bit = 1u << (vector % 32);
        memory.Write32(bar, at, pending ? before | bit : before & ~bit);
        return (before & bit) != 0;
    }

    private ulong Entry(int vector) => layout.Msix!.Value.TableOffset + (ulong)(vector * MsixCapability.EntrySize);
}
