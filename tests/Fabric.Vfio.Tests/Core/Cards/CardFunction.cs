using System.Buffers.Binary;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.Cards;

/// <summary>
/// A function with all that the core looks at: power management, MSI-X, PCI Express with FLR, SR-IOV on a PF, memory and I/O BARs, a ROM. It
/// obeys the standard: a reset or D3hot loses its registers, memory answers only while it is decoded and powered. What the core must never
/// do to hardware is counted as a violation.
/// </summary>
internal sealed class CardFunction : IPciFunction
{
    public const int Power = 0x40;
    public const int Pmcsr = Power + PowerManagementCapability.ControlStatus;
    public const int MsixControl = 0x70 + MsixCapability.Control;
    public const int Express = 0x80;
    public const int Sriov = 0x100;
    public const int TotalVfs = 4;

    public const int MemoryBar = 0;
    public const int MsixBar = 2;
    public const int IoBar = 4;
    public const int SmallBar = 5;
    public const ulong MemoryBytes = 0x2000;
    public const ulong MsixTableOffset = 0x800;
    public const int MsixVectors = 4;

    private readonly byte[] config = new byte[ConfigOffset.ExtendedSize];
    private readonly byte[] powerOn;
    private readonly Dictionary<(int Region, ulong Offset), byte> memory = [];

    public CardFunction(PciAddress address, FunctionTraits traits = FunctionTraits.None, bool noSoftReset = false)
    {
        (Address, Traits) = (address, traits);
        Put16(ConfigOffset.VendorId, IsVirtual ? (ushort)0xffff : (ushort)0x1b36);
        Put16(ConfigOffset.Status, (ushort)PciStatus.CapabilitiesList);
        config[ConfigOffset.CapabilitiesPointer] = Power;
        config[ConfigOffset.InterruptPin] = IsVirtual ? (byte)0 : (byte)1;
        Chain(Power, StandardCapability.PowerManagement, next: 0x70);
        Put16(Power + PowerManagementCapability.Capabilities, 3 | (1 << 9));
        Put16(Pmcsr, noSoftReset ? PowerManagementCapability.NoSoftResetBit : (ushort)0);
        Chain(0x70, StandardCapability.Msix, next: Express);
        Put16(MsixControl, MsixVectors - 1);
        Put32(0x70 + MsixCapability.Table, (uint)MsixTableOffset | MsixBar);
        Chain(Express, StandardCapability.PciExpress, next: 0);
        Put16(Express + 2, 2);
        Put32(Express + 4, 1u << 28);
        if (!IsVirtual)
        {
            Put32(Sriov, (uint)ExtendedCapability.Sriov | (1u << 16));
            Put16(Sriov + SriovCapability.TotalVfCount, TotalVfs);
        }

        powerOn = [.. config];
        if (!IsVirtual)
            Put32(ConfigOffset.Bar0, 0xfeb0_000c);
    }

    /// <summary>"reset", "dma on", "claim 0", "vfs 2": what was done to it, in order.</summary>
    public List<string> Calls { get; } = [];

    /// <summary>What the core did that no function may meet.</summary>
    public List<string> Violations { get; } = [];

    /// <summary>Errno of the next resets; None is success.</summary>
    public Errno OnReset { get; set; }

    /// <summary>Errno of resets by one method; those without one come to <see cref="OnReset"/>.</summary>
    public Dictionary<string, Errno> OnMethod { get; } = [];

    /// <summary>Methods by which it was to be reset, in order.</summary>
    public List<string> MethodsTried { get; } = [];

    public Errno OnSetVirtualFunctions { get; set; }

    /// <summary>Gone: it leaves no power state any more.</summary>
    public bool IsStuck { get; set; }

    public Dictionary<int, Errno> Claims { get; } = [];

    public Action DuringAccess { get; set; } = () => { };

    public Action DuringReset { get; set; } = () => { };

    /// <summary>Whether who claims its BARs, or resets its bus, has the device's set alone (INV-7).</summary>
    public Func<bool> HasSetAlone { get; set; } = () => true;

    /// <summary>Resets that took place.</summary>
    public int Resets { get; private set; }

    public CardBus? Bus { get; set; }

    public IDmaSpace? Dma { get; private set; }

    public PciAddress Address { get; }

    public FunctionTraits Traits { get; }

    public PciIds Ids => new(0x1b36, 0xfab0);

    public PciAddress? PhysicalFunction { get; init; }

    public int? IommuGroup { get; init; } = 7;

    public int ConfigSize => config.Length;

    public IReadOnlyList<PciBar> Bars { get; init; } =
    [
        new(BarKind.Memory64, MemoryBytes, Prefetchable: true), PciBar.None, new(BarKind.Memory64, MemoryBytes), PciBar.None,
        new(BarKind.Io, 0x20), new(BarKind.Memory32, 0x100),
    ];

    public PciRom Rom { get; init; }

    public AtomicCompletion Atomics { get; init; }

    public IReadOnlyList<string> ResetMethods { get; init; } = ["flr"];

    public IFunctionInterrupts Interrupts { get; init; } = NoInterrupts.Instance;

    public PciPowerState PowerState => (PciPowerState)(Get16(Pmcsr) & PowerManagementCapability.StateMask);

    public bool IsVirtual => (Traits & FunctionTraits.VirtualFunction) != 0;

    public ushort Get16(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(config.AsSpan(offset));

    public bool Has(PciCommand bits) => ((PciCommand)Get16(ConfigOffset.Command) & bits) == bits;

    public void Put16(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(offset), value);

    public void Put32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(offset), value);

    public byte Memory(int region, ulong offset) => memory.GetValueOrDefault((region, offset), (byte)(offset * 7));

    public void ReadConfig(int offset, Span<byte> destination) => config.AsSpan(offset, destination.Length).CopyTo(destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        var (before, noSoftReset) = (PowerState, Get16(Pmcsr) & PowerManagementCapability.NoSoftResetBit);
        source.CopyTo(config.AsSpan(offset));
        Put16(Pmcsr, (ushort)((Get16(Pmcsr) & ~PowerManagementCapability.NoSoftResetBit) | noSoftReset));
        if (IsStuck)
            Put16(Pmcsr, (ushort)((Get16(Pmcsr) & ~PowerManagementCapability.StateMask) | (int)before));
        if (before == PciPowerState.D3Hot && PowerState == PciPowerState.D0 && (Get16(Pmcsr) & PowerManagementCapability.NoSoftResetBit) == 0)
            LoseRegisters();
    }

    public VfioResult ClaimBar(int bar)
    {
        Calls.Add($"claim {bar}");
        MeetSet("claimed");
        return Claims.TryGetValue(bar, out var errno) ? VfioResult.Fail(errno, "The BAR cannot be claimed.") : VfioResult.Ok;
    }

    public void ReleaseBar(int bar)
    {
        Calls.Add($"release {bar}");
        MeetSet("released");
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        Meet(region, offset, destination.Length);
        for (var i = 0; i < destination.Length; i++)
            destination[i] = Memory(region, offset + (ulong)i);
        return VfioResult.Ok;
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        Meet(region, offset, source.Length);
        for (var i = 0; i < source.Length; i++)
            memory[(region, offset + (ulong)i)] = source[i];
        return VfioResult.Ok;
    }

    public VfioResult Reset(string method)
    {
        Calls.Add("reset");
        MethodsTried.Add(method);
        if (OnMethod.GetValueOrDefault(method, OnReset) is not Errno.None and var errno)
            return VfioResult.Fail(errno, "The reset did not work.");
        LoseEverything();
        return VfioResult.Ok;
    }

    public void LoseEverything()
    {
        Resets++;
        DuringReset();
        if (Has(PciCommand.BusMaster))
            Violations.Add("reset while it masters the bus");
        LoseRegisters();
        memory.Clear();
    }

    public void ConnectDma(IDmaSpace? space)
    {
        Calls.Add(space is null ? "dma off" : "dma on");
        Dma = space;
    }

    public VfioResult SetVirtualFunctions(int count)
    {
        Calls.Add($"vfs {count}");
        if (OnSetVirtualFunctions != Errno.None)
            return VfioResult.Fail(OnSetVirtualFunctions, "The VFs cannot be made.");
        Bus?.SetVirtualFunctions(this, count);
        return VfioResult.Ok;
    }

    public void MeetSet(string what)
    {
        if (!HasSetAlone())
            Violations.Add($"INV-7: {what} while others may have the set");
    }

    /// <summary>The bytes and widths of accesses, as "r0+8/4": region, offset, width.</summary>
    public List<string> Accesses { get; } = [];

    private void Meet(int region, ulong offset, int length)
    {
        DuringAccess();
        Accesses.Add($"{region}+{offset:x}/{length}");
        var isMemory = region == RegionIndex.Rom || (region <= RegionIndex.Bar5 && Bars[region].IsMemory);
        if (PowerState == PciPowerState.D3Hot && isMemory)
            Violations.Add($"access to region {region} in D3hot");
        if (isMemory && !IsVirtual && !Has(PciCommand.MemorySpace))
            Violations.Add($"access to region {region} with memory decode off");
        if (region <= RegionIndex.Bar5 && (offset > Bars[region].Size || (ulong)length > Bars[region].Size - offset))
            Violations.Add($"access past the end of region {region}");
    }

    private void LoseRegisters()
    {
        var pmcsr = Get16(Pmcsr);
        powerOn.CopyTo(config.AsSpan());
        Put16(Pmcsr, (ushort)(pmcsr & PowerManagementCapability.NoSoftResetBit));
    }

    private void Chain(int at, StandardCapability id, byte next) => (config[at], config[at + 1]) = ((byte)id, next);
}
