using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// What a reset takes from the raw config space of a function and the core gives back (IO-51, LC-20, LC-31, LC-65): the header, and the
/// control registers of capabilities. Status bits are left as they are. Nothing is written that is what it was.
/// </summary>
internal sealed class ConfigSnapshot
{
    /// <param name="Kept">Bits that are given back.</param>
    /// <param name="ClearedByOne">Bits beside them that hardware clears when it is written a one.</param>
    private sealed record Register(int Offset, int Width, uint Kept = uint.MaxValue, uint ClearedByOne = 0);

    private static readonly ImmutableArray<Register> HeaderRegisters =
    [
        new(ConfigOffset.Bar0, 4), new(ConfigOffset.Bar0 + 4, 4), new(ConfigOffset.Bar0 + 8, 4),
        new(ConfigOffset.Bar0 + 12, 4), new(ConfigOffset.Bar0 + 16, 4), new(ConfigOffset.Bar0 + 20, 4),
        new(ConfigOffset.RomBar, 4), new(ConfigOffset.CacheLineSize, 1), new(ConfigOffset.LatencyTimer, 1), new(ConfigOffset.InterruptLine, 1),
    ];

    /// <summary>The last to be given back: from it on the function decodes, and masters the bus.</summary>
    private static readonly Register Command = new(ConfigOffset.Command, 2);

    private static readonly ImmutableArray<Register> Msi32 = Msi(is64Bit: false, hasMask: false);
    private static readonly ImmutableArray<Register> Msi64 = Msi(is64Bit: true, hasMask: false);
    private static readonly ImmutableArray<Register> Msi32Masked = Msi(is64Bit: false, hasMask: true);
    private static readonly ImmutableArray<Register> Msi64Masked = Msi(is64Bit: true, hasMask: true);

    private readonly ImmutableArray<Kept> saved;

    private ConfigSnapshot(ImmutableArray<Kept> saved) => this.saved = saved;

    /// <summary>What a register held. Small: a function that sleeps has a snapshot, and very many do.</summary>
    /// <param name="Which">Its place in <see cref="All"/>.</param>
    /// <param name="Start">Where its header or capability begins.</param>
    private readonly record struct Kept(byte Which, ushort Start, uint Value)
    {
        public Register Register => All[Which];
    }

    /// <summary>
    /// Takes what hardware holds now; nothing from a function that does not answer: given back to one that does again, all ones would let it
    /// master the bus (INV-3).
    /// </summary>
    public static ConfigSnapshot Save(IPciFunction function)
    {
        ArgumentNullException.ThrowIfNull(function);
        var raw = new byte[function.ConfigSize];
        function.ReadConfig(0, raw);
        if (LittleEndian.Load(raw.AsSpan(ConfigOffset.Command, sizeof(uint))) == uint.MaxValue)
            return new ConfigSnapshot([]);
        var saved = ImmutableArray.CreateBuilder<Kept>(16);
        Take(HeaderRegisters, 0, ConfigOffset.HeaderSize);
        foreach (var entry in CapabilityWalk.Standard(raw))
            Take(Of(entry, raw), entry.Offset, CapabilityLength.Standard(raw, entry.Offset));
        if (VisibleCapabilities.HasExtendedSpace(raw))
        {
            foreach (var entry in CapabilityWalk.Extended(raw))
                Take(Of(entry), entry.Offset, CapabilityLength.Extended(raw, entry.Offset));
        }

        Take([Command], 0, ConfigOffset.HeaderSize);
        return new ConfigSnapshot(saved.DrainToImmutable());

        void Take(ImmutableArray<Register> registers, int start, int length)
        {
            foreach (var register in registers)
            {
                if (register.Offset + register.Width <= length)
                    saved.Add(new Kept((byte)All.IndexOf(register), (ushort)start, LittleEndian.Load(raw.AsSpan(start + register.Offset, register.Width))));
            }
        }
    }

    /// <summary>Gives it back: BARs first, COMMAND last.</summary>
    public void Restore(IPciFunction function)
    {
        ArgumentNullException.ThrowIfNull(function);
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        foreach (var kept in saved)
        {
            var (register, start, value) = (kept.Register, kept.Start, kept.Value);
            var at = bytes[..register.Width];
            function.ReadConfig(start + register.Offset, at);
            var now = LittleEndian.Load(at);
            if (((now ^ value) & register.Kept) == 0)
                continue;
            LittleEndian.Store(at, ShadowedConfig.Merge(now & ~register.ClearedByOne, value, register.Kept));
            function.WriteConfig(start + register.Offset, at);
        }
    }

    /// <summary>What of it hardware has lost since.</summary>
    public LostConfig FindLost(IPciFunction function)
    {
        ArgumentNullException.ThrowIfNull(function);
        var lost = LostConfig.None;
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        foreach (var kept in saved)
        {
            var (register, start, value) = (kept.Register, kept.Start, kept.Value);
            var at = bytes[..register.Width];
            function.ReadConfig(start + register.Offset, at);
            var changed = (LittleEndian.Load(at) ^ value) & register.Kept;
            if (changed != 0)
                lost |= start != 0 ? LostConfig.Capabilities : register == Command ? OfCommand((PciCommand)changed, (PciCommand)value) : LostConfig.Bars;
        }

        return lost;
    }

    private static LostConfig OfCommand(PciCommand changed, PciCommand value) =>
        ((changed & value & PciCommand.BusMaster) != 0 ? LostConfig.BusMaster : LostConfig.None) |
        ((changed & value & (PciCommand.MemorySpace | PciCommand.IoSpace)) != 0 ? LostConfig.Decode : LostConfig.None);

    private static ImmutableArray<Register> Of(StandardEntry entry, ReadOnlySpan<byte> raw) => entry.Id switch
    {
        StandardCapability.PowerManagement => PowerManagement,
        StandardCapability.PciX => PciXRegisters,
        StandardCapability.PciExpress => PciExpress,
        StandardCapability.Msix => Msix,
        StandardCapability.Msi => MsiCapability.Parse(raw, entry.Offset) switch
        {
            { Is64Bit: false, HasMask: false } => Msi32,
            { Is64Bit: true, HasMask: false } => Msi64,
            { Is64Bit: false } => Msi32Masked,
            _ => Msi64Masked,
        },
        _ => [],
    };

    private static ImmutableArray<Register> Of(ExtendedEntry entry) => entry.Id switch
    {
        ExtendedCapability.Aer => Aer,
        ExtendedCapability.AccessControl or ExtendedCapability.AlternativeRoutingId or ExtendedCapability.AddressTranslation => SixthWord,
        ExtendedCapability.PageRequest => PageRequest,
        ExtendedCapability.LatencyTolerance => LatencyTolerance,
        ExtendedCapability.Sriov => Sriov,
        _ => [],
    };

    /// <summary>Not the power state: a function that is given its registers back is in D0.</summary>
    private static readonly ImmutableArray<Register> PowerManagement =
    [
        new(PowerManagementCapability.ControlStatus, 2,
            Kept: PowerManagementCapability.PmeEnable | PowerManagementCapability.DataSelect, ClearedByOne: PowerManagementCapability.PmeStatus),
    ];

    private static readonly ImmutableArray<Register> PciXRegisters = [new(PciX.Command, 2)];

    private static readonly ImmutableArray<Register> PciExpress =
    [
        new(PciExpressCapability.DeviceControl, 2, Kept: ~(uint)PciExpressCapability.InitiateFunctionLevelReset),
        new(PciExpressCapability.LinkControl, 2), new(PciExpressCapability.DeviceControl2, 2), new(PciExpressCapability.LinkControl2, 2),
    ];

    private static readonly ImmutableArray<Register> Msix = [new(MsixCapability.Control, 2)];

    private static readonly ImmutableArray<Register> Aer =
    [
        new(AerRegister.UncorrectableMask, 4), new(AerRegister.UncorrectableSeverity, 4), new(AerRegister.CorrectableMask, 4),
        new(AerRegister.Control, 4, AerRegister.EcrcGenerationEnable | AerRegister.EcrcCheckEnable),
    ];

    /// <summary>The control register of ACS, ARI and ATS.</summary>
    private static readonly ImmutableArray<Register> SixthWord = [new(6, 2)];

    private static readonly ImmutableArray<Register> PageRequest = [new(4, 2)];

    private static readonly ImmutableArray<Register> LatencyTolerance = [new(4, 4)];

    /// <summary>The number of VFs and their BARs before the bit that makes them exist.</summary>
    private static readonly ImmutableArray<Register> Sriov =
    [
        new(SriovCapability.NumVfs, 2), new(SriovCapability.SystemPageSize, 4),
        new(SriovCapability.VfBar0, 4), new(SriovCapability.VfBar0 + 4, 4), new(SriovCapability.VfBar0 + 8, 4),
        new(SriovCapability.VfBar0 + 12, 4), new(SriovCapability.VfBar0 + 16, 4), new(SriovCapability.VfBar0 + 20, 4),
        new(SriovCapability.Control, 2),
    ];

    /// <summary>Every register that there is to keep; those of equal place and bits are one.</summary>
    private static readonly ImmutableArray<Register> All =
    [
        .. HeaderRegisters.Add(Command).Concat(Msi32).Concat(Msi64).Concat(Msi32Masked).Concat(Msi64Masked).Concat(PowerManagement).Concat(PciXRegisters)
            .Concat(PciExpress).Concat(Msix).Concat(Aer).Concat(SixthWord).Concat(PageRequest).Concat(LatencyTolerance).Concat(Sriov).Distinct(),
    ];

    /// <summary>Message and masks before the bit that turns MSI on.</summary>
    private static ImmutableArray<Register> Msi(bool is64Bit, bool hasMask)
    {
        var registers = ImmutableArray.CreateBuilder<Register>();
        registers.Add(new(MsiCapability.AddressLow, 4));
        if (is64Bit)
            registers.Add(new(MsiCapability.AddressHigh, 4));
        registers.Add(new(MsiCapability.DataAt(is64Bit), 2));
        if (hasMask)
            registers.Add(new(MsiCapability.MaskAt(is64Bit), 4));
        registers.Add(new(MsiCapability.Control, 2));
        return registers.ToImmutable();
    }
}
