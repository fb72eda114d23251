namespace Fabric.Pci.Capabilities;

/// <summary>Single root I/O virtualisation (PCIe 6.0, 9.3.3).</summary>
/// <param name="TotalVfs">The most VFs that may exist.</param>
/// <param name="FirstOffset">Routing id of the first VF less the PF's.</param>
/// <param name="Stride">Routing id of a VF less that of the one before it.</param>
public readonly record struct SriovCapability(int Offset, ushort InitialVfs, ushort TotalVfs, ushort FirstOffset, ushort Stride, ushort VfDeviceId)
{
    public const int Control = 0x08;
    public const int InitialVfCount = 0x0c;
    public const int TotalVfCount = 0x0e;
    public const int NumVfs = 0x10;
    public const int FirstVfOffset = 0x14;
    public const int VfStride = 0x16;
    public const int VfDevice = 0x1a;
    public const int SystemPageSize = 0x20;
    public const int VfBar0 = 0x24;
    public const int Length = 0x40;

    public static SriovCapability Parse(ReadOnlySpan<byte> config, int offset) => new(
        offset,
        RawConfig.Word(config, offset + InitialVfCount),
        RawConfig.Word(config, offset + TotalVfCount),
        RawConfig.Word(config, offset + FirstVfOffset),
        RawConfig.Word(config, offset + VfStride),
        RawConfig.Word(config, offset + VfDevice));
}
