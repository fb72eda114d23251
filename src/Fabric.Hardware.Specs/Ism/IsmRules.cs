namespace Fabric.Hardware.Specs.Ism;

/// <summary>s390's internal shared memory: a PCI function that is reached by store and load instructions alone.</summary>
public static class IsmRules
{
    public const ushort Vendor = 0x1014;
    public const ushort Device = 0x04ed;

    /// <summary>File offsets of regions are this shift apart, where the core's are 40: BARs of it are larger than that leaves room for.</summary>
    public const int OffsetShift = 48;

    /// <summary>A store or load does not cross one.</summary>
    public const ulong PageBytes = 0x1000;

    /// <summary>Of one store or load, where firmware does not say.</summary>
    public const ulong DefaultStoreBlock = 128;
}
