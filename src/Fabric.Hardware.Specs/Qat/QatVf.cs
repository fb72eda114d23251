namespace Fabric.Hardware.Specs.Qat;

/// <summary>Ids of Intel QuickAssist, the fourth generation and after it. A VF's is its PF's plus 1.</summary>
public static class QatIds
{
    public const ushort Vendor = 0x8086;
    public const ushort Gen4PhysicalFunction = 0x4940;
    public const ushort Gen6PhysicalFunction = 0x4948;

    /// <summary>VFs: 4xxx, 401xx, 402xx, 420xx, 6xxx.</summary>
    public static IReadOnlyList<ushort> VirtualFunctions { get; } = [0x4941, 0x4943, 0x4945, 0x4947, 0x4949];

    /// <summary>Co-processor.</summary>
    public const uint ClassCode = 0x0b4000;
}

/// <summary>BARs of a VF.</summary>
public static class QatBar
{
    /// <summary>A <see cref="QatBank"/> every <see cref="QatBank.Bytes"/>.</summary>
    public const int Rings = 0;

    /// <summary><see cref="QatMisc"/>.</summary>
    public const int Misc = 2;
    public const int Bytes = 0x1000;
}

/// <summary>Registers of a bank, one ring of requests and one of responses: offsets in bytes, little-endian.</summary>
public static class QatBank
{
    public const int Count = 4;
    public const int Bytes = 0x100;

    /// <summary>u64: requests, a <see cref="QatRequest"/> each.</summary>
    public const int RequestIova = 0x00;

    /// <summary>u64: responses, a <see cref="QatResponse"/> each.</summary>
    public const int ResponseIova = 0x08;

    /// <summary>u32: entries of either ring, a power of two, at most <see cref="MaxEntries"/>; 0 while the bank is not set up.</summary>
    public const int Entries = 0x10;

    /// <summary>u32: jobs submitted. Jobs run when it is written, or when a suspended VF goes on.</summary>
    public const int RequestTail = 0x14;

    /// <summary>u32, read-only: jobs taken.</summary>
    public const int RequestHead = 0x18;

    /// <summary>u32, read-only: jobs done.</summary>
    public const int ResponseTail = 0x1c;

    public const uint MaxEntries = 1024;
}

/// <summary>Registers of BAR 2, u32.</summary>
public static class QatMisc
{
    public const int InterruptMask = 0x00;

    /// <summary>A bit a bank that has a response; cleared where 1 is written.</summary>
    public const int InterruptSource = 0x04;
}

/// <summary>
/// Source u64, destination u64, length u32 (at most <see cref="MaxLength"/>), key u32, tag u64. The result is the source XOR the key's low byte.
/// </summary>
public static class QatRequest
{
    public const int Bytes = 32;
    public const int MaxLength = 4096;
}

/// <summary>Tag u64, status u32 (0 done, 1 DMA failed or a length that is none), 4 reserved.</summary>
public static class QatResponse
{
    public const int Bytes = 16;
}
