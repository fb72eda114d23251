using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Config;

/// <summary>The 64 bytes that every function starts with, as data (PCI Local Bus 3.0, 6.1; PCI-to-PCI Bridge 1.2, 3.2).</summary>
internal static class HeaderLayout
{
    private const uint StatusErrors = (uint)(
        PciStatus.MasterDataParityError | PciStatus.SignaledTargetAbort | PciStatus.ReceivedTargetAbort | PciStatus.ReceivedMasterAbort |
        PciStatus.SignaledSystemError | PciStatus.DetectedParityError);

    private const PciCommand AlwaysWritable = PciCommand.BusMaster | PciCommand.ParityErrorResponse | PciCommand.SystemErrorEnable;

    /// <summary>An endpoint.</summary>
    /// <param name="pin">1 to 4 for INTA to INTD, 0 without.</param>
    /// <param name="hasInterruptDisable">DisINTx and interrupt status are there: since PCI 2.3.</param>
    public static IEnumerable<RegisterRow> Endpoint(
        PciIds ids, IReadOnlyList<PciBar> bars, PciRom rom, byte pin, bool hasInterruptDisable, bool isMultiFunction)
    {
        var command = AlwaysWritable | (hasInterruptDisable ? PciCommand.InterruptDisable : 0);
        foreach (var bar in bars)
            command |= bar.IsMemory ? PciCommand.MemorySpace : bar.Kind == BarKind.Io ? PciCommand.IoSpace : PciCommand.None;
        return
        [
            new(ConfigOffset.VendorId, 2, ids.Vendor),
            new(ConfigOffset.DeviceId, 2, ids.Device),
            new(ConfigOffset.Command, 2, Writable: (uint)command),
            new(ConfigOffset.Status, 2, ClearedByOne: StatusErrors),
            .. Class(ids),
            new(ConfigOffset.CacheLineSize, 1, Writable: byte.MaxValue),
            new(ConfigOffset.HeaderType, 1, isMultiFunction ? 0x80u : 0),
            .. BaseAddressRows.Of(bars, ConfigOffset.Bar0),
            new(ConfigOffset.SubsystemVendorId, 2, ids.SubsystemVendor),
            new(ConfigOffset.SubsystemId, 2, ids.Subsystem),
            new(ConfigOffset.RomBar, 4, Writable: rom.BarSize == 0 ? 0 : (uint)~(rom.BarSize - 1) | BarBits.RomEnable),
            new(ConfigOffset.InterruptLine, 1, Writable: byte.MaxValue),
            new(ConfigOffset.InterruptPin, 1, pin),
        ];
    }

    /// <summary>A VF: its ids read 0xffff, its BARs are its PF's affair, of COMMAND it has bus mastering alone (PCIe 6.0, 9.3.4.1).</summary>
    public static IEnumerable<RegisterRow> VirtualFunction(PciIds ids) =>
    [
        new(ConfigOffset.VendorId, 2, ushort.MaxValue),
        new(ConfigOffset.DeviceId, 2, ushort.MaxValue),
        new(ConfigOffset.Command, 2, Writable: (uint)PciCommand.BusMaster),
        new(ConfigOffset.Status, 2, ClearedByOne: StatusErrors),
        .. Class(ids),
        new(ConfigOffset.SubsystemVendorId, 2, ids.SubsystemVendor),
        new(ConfigOffset.SubsystemId, 2, ids.Subsystem),
    ];

    /// <summary>A port or bridge; its bus numbers firmware gives it.</summary>
    public static IEnumerable<RegisterRow> Bridge(PciIds ids) =>
    [
        new(ConfigOffset.VendorId, 2, ids.Vendor),
        new(ConfigOffset.DeviceId, 2, ids.Device),
        new(ConfigOffset.Command, 2, (uint)(PciCommand.IoSpace | PciCommand.MemorySpace | PciCommand.BusMaster), Writable: 0x547),
        new(ConfigOffset.Status, 2, ClearedByOne: StatusErrors),
        .. Class(ids),
        new(ConfigOffset.CacheLineSize, 1, Writable: byte.MaxValue),
        new(ConfigOffset.HeaderType, 1, 1),
        new(0x18, 1, Writable: byte.MaxValue),
        new(0x19, 1, Writable: byte.MaxValue),
        new(0x1a, 1, Writable: byte.MaxValue),
        new(0x1e, 2, ClearedByOne: StatusErrors),
        new(BridgeControl.Offset, 2, Writable: 0x5f),
    ];

    private static RegisterRow[] Class(PciIds ids) =>
        [new(ConfigOffset.ClassCode, 1, ids.Class & 0xff), new(ConfigOffset.ClassCode + 1, 2, ids.Class >> 8)];
}

/// <summary>The bridge control register (PCI-to-PCI Bridge 1.2, 3.2.5.18).</summary>
internal static class BridgeControl
{
    public const int Offset = 0x3e;

    /// <summary>Holds everything below in reset.</summary>
    public const byte SecondaryBusReset = 1 << 6;
}
