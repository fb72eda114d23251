namespace Fabric.Hardware.Specs.NvGrace;

/// <summary>NVIDIA's GPUs whose memory the CPU reaches coherently, beside PCI (contract §7.3).</summary>
public static class NvGraceIds
{
    public const ushort Vendor = 0x10de;
    public const ushort HopperSmall = 0x2342;
    public const ushort Hopper = 0x2345;
    public const ushort HopperOther = 0x2348;
    public const ushort Blackwell = 0x2941;
    public const ushort BlackwellUltra = 0x31c2;

    /// <summary>3D controller.</summary>
    public const uint ClassCode = 0x030200;
}

/// <summary>What firmware says of the memory (ACPI _DSD).</summary>
public static class NvGraceProperties
{
    /// <summary>Physical address.</summary>
    public const string MemoryBase = "nvidia,gpu-mem-base-pa";

    /// <summary>Bytes; 0 where the link to the CPU is down.</summary>
    public const string MemorySize = "nvidia,gpu-mem-size";
}

/// <summary>Registers of BAR 0 that a host looks at: offsets in bytes, u32.</summary>
public static class NvGraceRegister
{
    public const int Bar = 0;

    /// <summary>The link between CPU and GPU.</summary>
    public const int Link = 0x1498;

    /// <summary>Training of the memory.</summary>
    public const int MemoryTraining = 0x200bc;

    /// <summary>Both hold this when the memory can be touched.</summary>
    public const uint Ready = 0xff;
}

/// <summary>The DVSEC that says what the GPU needs of its host (PCIe 6.0, 7.9.6).</summary>
public static class NvGraceDvsec
{
    public const int Id = 3;
    public const int Length = 0x0c;

    /// <summary>u16: vendor.</summary>
    public const int VendorAt = 0x4;

    /// <summary>u16.</summary>
    public const int IdAt = 0x8;

    /// <summary>u16.</summary>
    public const int Bits = 0xa;

    /// <summary>Its instances (MIG) work with cached memory. Without this bit they need a part of it that is not cached.</summary>
    public const ushort MigWithCachedMemory = 1;
}

/// <summary>How the memory is divided into fake BARs, both of 64 bits and prefetchable (VD-NVG-1).</summary>
public static class NvGraceBar
{
    /// <summary>What is not cached, at the memory's end; only where the erratum about MIG applies.</summary>
    public const int Reserved = 2;

    /// <summary>What guests use, cached.</summary>
    public const int Usable = 4;

    /// <summary>Least that is reserved.</summary>
    public const ulong ReservedBytes = 1ul << 30;

    /// <summary>Where memory is reserved, what is usable is a multiple of this, agreed with the GPU's firmware; the rest is reserved too.</summary>
    public const ulong Block = 512ul << 20;
}
