using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Hardware.Emulated.Mtty;

/// <summary>
/// Config space of the serial card: a conventional device, type-0 header, MSI with one vector. What of it can be written is a table of
/// bits, so that BARs are sized as the standard says (PCI Local Bus 3.0, 6.2.5.1). The card's lock is held.
/// </summary>
internal sealed class MttyConfig
{
    private const int MsiAt = 0x50;

    /// <summary>DEVSEL timing, medium (PCI Local Bus 3.0, 6.2.3).</summary>
    private const ushort MediumTiming = 0x0200;

    private const int InterruptPinA = 1;
    private const uint PortMask = ~(uint)(MttyBar.PortBytes - 1);
    private const uint WindowMask = ~(uint)(MttyMigration.Bytes - 1);

    /// <summary>Memory decode cannot be turned off: the window is the host's, whatever its user does (CF-13).</summary>
    private const PciCommand WritableCommand = PciCommand.IoSpace | PciCommand.BusMaster | PciCommand.InterruptDisable;

    private readonly byte[] bytes = new byte[ConfigOffset.ConventionalSize];
    private readonly byte[] powerOn;
    private readonly byte[] writable = new byte[ConfigOffset.ConventionalSize];

    public MttyConfig(int ports)
    {
        Put16(bytes, ConfigOffset.VendorId, MttyIds.Vendor);
        Put16(bytes, ConfigOffset.DeviceId, MttyIds.Device);
        Put16(bytes, ConfigOffset.Status, (ushort)PciStatus.CapabilitiesList | MediumTiming);
        Put32(bytes, ConfigOffset.Revision, (MttyIds.ClassCode << 8) | MttyIds.Revision);
        Put16(bytes, ConfigOffset.SubsystemVendorId, MttyIds.Vendor);
        Put16(bytes, ConfigOffset.SubsystemId, MttyIds.Device);
        bytes[ConfigOffset.CapabilitiesPointer] = MsiAt;
        bytes[ConfigOffset.InterruptPin] = InterruptPinA;
        bytes[MsiAt] = (byte)StandardCapability.Msi;
        Put16(writable, ConfigOffset.Command, (ushort)WritableCommand);
        writable[ConfigOffset.InterruptLine] = 0xff;
        for (var port = 0; port < ports; port++)
        {
            Put32(bytes, ConfigOffset.Bar0 + (4 * port), BarBits.Io);
            Put32(writable, ConfigOffset.Bar0 + (4 * port), PortMask);
        }

        Put32(writable, ConfigOffset.Bar0 + (4 * MttyBar.Migration), WindowMask);
        Put16(writable, MsiAt + MsiCapability.Control, MsiCapability.Enable | MsiCapability.MultipleMessageEnable);
        Put32(writable, MsiAt + MsiCapability.AddressLow, ~3u);
        Put16(writable, MsiAt + MsiCapability.DataAt(is64Bit: false), ushort.MaxValue);
        powerOn = [.. bytes];
    }

    public bool IsIoOn => (Command & PciCommand.IoSpace) != 0;

    public bool IsIntxDisabled => (Command & PciCommand.InterruptDisable) != 0;

    /// <summary>Whether messages go out: they are writes to memory, so that bus mastering is needed for them (PCI Local Bus 3.0, 6.8.3).</summary>
    public bool SendsMessages => IsMsiOn && (Command & PciCommand.BusMaster) != 0;

    /// <summary>A function whose MSI is on leaves its pin alone (PCI Local Bus 3.0, 6.8.2).</summary>
    public bool IsMsiOn
    {
        get => (bytes[MsiAt + MsiCapability.Control] & MsiCapability.Enable) != 0;
        set => SetBit(MsiAt + MsiCapability.Control, MsiCapability.Enable, value);
    }

    /// <summary>The interrupt status bit follows the ports, whatever DisINTx says.</summary>
    public bool IsInterruptPending
    {
        set => SetBit(ConfigOffset.Status, (int)PciStatus.InterruptPending, value);
    }

    private PciCommand Command => (PciCommand)BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(ConfigOffset.Command));

    public void Read(int offset, Span<byte> destination) => bytes.AsSpan(offset, destination.Length).CopyTo(destination);

    public void Write(int offset, ReadOnlySpan<byte> source)
    {
        for (var i = 0; i < source.Length; i++)
        {
            var mask = writable[offset + i];
            bytes[offset + i] = (byte)((bytes[offset + i] & ~mask) | (source[i] & mask));
        }
    }

    public void Reset() => powerOn.CopyTo(bytes.AsSpan());

    private void SetBit(int offset, int bit, bool value) => bytes[offset] = (byte)(value ? bytes[offset] | bit : bytes[offset] & ~bit);

    private static void Put16(byte[] into, int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(into.AsSpan(offset), value);

    private static void Put32(byte[] into, int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(into.AsSpan(offset), value);
}
