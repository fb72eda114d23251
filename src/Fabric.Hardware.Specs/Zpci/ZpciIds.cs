namespace Fabric.Hardware.Specs.Zpci;

/// <summary>The function that is emulated as one of an s390 host: any function of such a host has the properties.</summary>
public static class ZpciIds
{
    public const ushort Vendor = 0x1b36;
    public const ushort Device = 0xfac6;
}
