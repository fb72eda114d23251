using System.Buffers.Binary;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Virtio;

/// <summary>
/// What a legacy guest sees of a modern VF (VD-VIR-2): a transitional device whose BAR 0 is 32 I/O ports. Ports become commands to the PF; ids,
/// BAR 0 and I/O decode are shown over the config space that the core has. Its registers outlive a restart of the driver.
/// </summary>
/// <param name="notifyAt">Where <see cref="Notify"/> takes notifications.</param>
internal sealed class VirtioLegacyIo(PciIds ids, VirtioCommands device, ulong notifyAt)
{
    public static RegionInfo Bar0 { get; } = new(0, RegionFlags.Read | RegionFlags.Write, VirtioLegacy.BarBytes);

    private readonly ushort type = (ushort)(ids.Device - VirtioIds.FirstModern);
    private readonly byte[] baseAddress = new byte[4];
    private readonly byte[] command = new byte[2];

    /// <summary>The VF's own place for notifications, for as long as it is open; null where they are told to the PF as all else.</summary>
    public RegionMapping? Notify { get; set; }

    /// <summary>The holder has I/O decode on.</summary>
    private bool Decodes => (Command & PciCommand.IoSpace) != 0;

    private PciCommand Command => (PciCommand)BinaryPrimitives.ReadUInt16LittleEndian(command);

    /// <summary>After a reset nothing is decoded; BAR 0 stays where it was, as the core's shadows do.</summary>
    public void Reset() => Array.Clear(command);

    /// <summary>Another holder opens the device: nothing is as the one before has left it (CF-4).</summary>
    public void Clear()
    {
        Reset();
        Array.Clear(baseAddress);
    }

    // ---- Config space ----------------------------------------------------------------------------------------------------------------

    /// <summary>What the holder writes goes to the core all the same.</summary>
    public void Take(ulong offset, ReadOnlySpan<byte> written)
    {
        ConfigOverlay.Lay(written, (long)offset, command, ConfigOffset.Command);
        ConfigOverlay.Lay(written, (long)offset, baseAddress, ConfigOffset.Bar0);
    }

    /// <summary>Lays what the holder is to see over what the core has answered.</summary>
    public void Show(ulong offset, Span<byte> answered)
    {
        Span<byte> value = stackalloc byte[4];
        BinaryPrimitives.WriteUInt16LittleEndian(value, (ushort)(VirtioIds.FirstTransitional + type - 1));
        ConfigOverlay.Lay(value[..2], ConfigOffset.DeviceId, answered, (long)offset);
        ConfigOverlay.Lay([0], ConfigOffset.Revision, answered, (long)offset);
        BinaryPrimitives.WriteUInt32LittleEndian(
            value, (BinaryPrimitives.ReadUInt32LittleEndian(baseAddress) & ~(uint)(VirtioLegacy.BarBytes - 1)) | BarBits.Io);
        ConfigOverlay.Lay(value, ConfigOffset.Bar0, answered, (long)offset);
        BinaryPrimitives.WriteUInt16LittleEndian(value, VirtioIds.Vendor);
        ConfigOverlay.Lay(value[..2], ConfigOffset.SubsystemVendorId, answered, (long)offset);
        BinaryPrimitives.WriteUInt16LittleEndian(value, type);
        ConfigOverlay.Lay(value[..2], ConfigOffset.SubsystemId, answered, (long)offset);
        var at = ConfigOffset.Command - (long)offset;
        if (Decodes && at >= 0 && at < answered.Length)
            answered[(int)at] |= (byte)PciCommand.IoSpace;
    }

    // ---- BAR 0 -----------------------------------------------------------------------------------------------------------------------

    /// <summary>Errors: EIO with I/O decode off; EINVAL past the end, and where no register is; those of the commands.</summary>
    public VfioResult Read(ulong offset, Span<byte> destination, bool msixEnabled)
    {
        if (Check(offset, destination.Length) is { IsOk: false } refused)
            return refused;
        if (offset == VirtioLegacy.QueueNotify && Notify is { } notify)
            return notify.Read(notifyAt, destination);
        var (isCommon, within) = Part(offset, msixEnabled);
        return device.ReadLegacy(isCommon, within, destination);
    }

    /// <summary>Errors: EIO with I/O decode off; EINVAL past the end, and where no register is; those of the commands.</summary>
    public VfioResult Write(ulong offset, ReadOnlySpan<byte> source, bool msixEnabled)
    {
        if (Check(offset, source.Length) is { IsOk: false } refused)
            return refused;
        if (offset == VirtioLegacy.QueueNotify && Notify is { } notify)
            return notify.Write(notifyAt, source);
        var (isCommon, within) = Part(offset, msixEnabled);
        return device.WriteLegacy(isCommon, within, source);
    }

    private VfioResult Check(ulong offset, int length)
    {
        if (!Decodes)
            return VfioResult.Fail(Errno.EIO, "The device's I/O decode is off; set I/O space in its COMMAND register.");
        if (offset > VirtioLegacy.BarBytes || (ulong)length > VirtioLegacy.BarBytes - offset)
            return VfioResult.Fail(Errno.EINVAL, "The access goes past the 32 bytes of BAR 0.");
        return offset == VirtioLegacy.QueueNotify && length != sizeof(ushort)
            ? VfioResult.Fail(Errno.EINVAL, "The notify register has 2 bytes; access it whole and alone.")
            : VfioResult.Ok;
    }

    private static (bool IsCommon, byte Within) Part(ulong offset, bool msixEnabled)
    {
        var deviceAt = (ulong)VirtioLegacy.DeviceConfigAt(msixEnabled);
        return offset < deviceAt ? (true, (byte)offset) : (false, (byte)(offset - deviceAt));
    }
}
