using System.Collections.Immutable;
using System.Globalization;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// Config space as the holder of an open device sees it (contract §3). Made at each open, after the reset, from what hardware holds then,
/// and dropped at close (CF-4).
/// </summary>
internal sealed class VirtualConfig
{
    /// <summary>Where no dword of config space is.</summary>
    private const int Nowhere = -4;

    private readonly ConfigMap map;
    private readonly ShadowedConfig config;
    private readonly HeaderWrites header;
    private readonly IWriteEffect?[] writes;
    private readonly MsiWrites? msi;
    private int msiDword;

    public VirtualConfig(IPciFunction function, IConfigEffects effects)
    {
        ArgumentNullException.ThrowIfNull(function);
        ArgumentNullException.ThrowIfNull(effects);
        var raw = new byte[function.ConfigSize];
        function.ReadConfig(0, raw);
        map = new ConfigMap(function, raw);
        Capabilities = FunctionCapabilities.Parse(raw, map);
        header = new HeaderWrites(config = new ShadowedConfig(function, map, raw), effects, SaveBars());
        writes = [.. map.Standard.Concat(map.Extended).Select(capability => WritesOf(capability, raw, effects))];
        msi = writes.OfType<MsiWrites>().FirstOrDefault();
        msiDword = msi?.Offset ?? Nowhere;
        Virtualize(function);
        LinkCapabilities();
    }

    /// <summary>Bytes of config space: 256 or 4096 (§2.3).</summary>
    public int Size => map.Size;

    /// <summary>
    /// Whether COMMAND lets the user's accesses through to memory BARs: the config half of mem_usable (contract §11.1), to which the core adds
    /// the power state. Always so for a function without a memory-enable bit (CF-13).
    /// </summary>
    public bool MemoryEnabled => header.IsMemoryEnabled;

    /// <summary>INTx disable as the user has set it (CF-14): virq_disabled.</summary>
    public bool IntxDisabled => header.IsIntxDisabled;

    /// <summary>The virtual interrupt pin, 1 to 4, or 0: whether IRQ index INTX has an interrupt (IO-30).</summary>
    public int InterruptPin => (int)config.Shadow(ConfigOffset.InterruptPin, sizeof(byte));

    public FunctionCapabilities Capabilities { get; }

    /// <summary>BARs 0 to 5 and the ROM BAR as hardware had them at open (CF-11).</summary>
    public ImmutableArray<uint> RealBars => header.RealBars;

    /// <summary>
    /// Reads what the user sees; the value is the number of bytes. Errors: EFAULT where any byte lies outside config space, with nothing
    /// read (CF-2).
    /// </summary>
    public VfioResult<int> Read(ulong offset, Span<byte> destination)
    {
        if (!Covers(offset, destination.Length))
            return OutOfRange;
        var at = (int)offset;
        for (var rest = destination; !rest.IsEmpty;)
        {
            var length = map.ChunkAt(at, rest.Length);
            var value = config.Read(at, length);
            LittleEndian.Store(rest[..length], (at & ~3) == msiDword ? msi!.Show(at, length, value) : value);
            at += length;
            rest = rest[length..];
        }

        return destination.Length;
    }

    /// <summary>
    /// Writes what the user may write and drops the rest in silence (CF-3); the value is the number of bytes. Errors: EFAULT where any byte
    /// lies outside config space, with nothing written (CF-2).
    /// </summary>
    public VfioResult<int> Write(ulong offset, ReadOnlySpan<byte> source)
    {
        if (!Covers(offset, source.Length))
            return OutOfRange;
        var at = (int)offset;
        for (var rest = source; !rest.IsEmpty;)
        {
            var length = map.ChunkAt(at, rest.Length);
            WriteChunk(at, length, LittleEndian.Load(rest[..length]));
            at += length;
            rest = rest[length..];
        }

        return source.Length;
    }

    /// <summary>
    /// Gives bytes to the driver in front of the core (CF-1): the user reads and writes them in the shadow, hardware sees none of it. Errors:
    /// EFAULT outside config space.
    /// </summary>
    public VfioResult MakeDriverVirtual(int offset, ReadOnlySpan<byte> content)
    {
        if (offset < 0 || !Covers((ulong)offset, content.Length))
            return OutOfRange.Error;
        map.LayDriverBytes(offset, content.Length);
        config.CopyShadow(offset, content);
        if (offset < msiDword + 4 && msiDword < offset + content.Length)
            msiDword = Nowhere;
        return VfioResult.Ok;
    }

    /// <summary>Names and values as the user would read them, capability by capability, and what is kept beside them (contract §11.1).</summary>
    public IEnumerable<(string Name, string Value)> Inspect()
    {
        foreach (var register in ConfigRules.Header.Registers)
            yield return (register.Name, Show(0, register));
        foreach (var row in map.BaseAddresses)
            yield return (row.Register.Name, Show(0, row.Register));
        yield return ("memory enabled", MemoryEnabled ? "yes" : "no");
        yield return ("INTx disabled", IntxDisabled ? "yes" : "no");
        for (var bar = 0; bar < RealBars.Length; bar++)
            yield return (bar < ConfigOffset.BarCount ? $"real BAR {bar}" : "real ROM BAR", Hex(RealBars[bar], sizeof(uint)));
        foreach (var (offset, length, rules) in map.Standard.Concat(map.Extended))
        {
            yield return (rules.Name, string.Create(CultureInfo.InvariantCulture, $"at 0x{offset:x}, {length} bytes"));
            foreach (var register in rules.Registers.Where(register => register.Offset + register.Width <= length))
                yield return ($"{rules.Name} {register.Name}", Show(offset, register));
        }
    }

    private static VfioResult<int> OutOfRange => new VfioError(Errno.EFAULT, "The access lies outside config space; look at the size of region 7.");

    private bool Covers(ulong offset, int length) => offset <= (ulong)Size && (ulong)length <= (ulong)Size - offset;

    private void WriteChunk(int at, int length, uint value)
    {
        if (map.IsHeader(at))
            header.Write(at, length, value);
        else if (map.CapabilityAt(at) is >= 0 and var capability && writes[capability] is { } effect)
            effect.Write(at - StartOf(capability), length, value);
        else
            config.Write(at, length, value);
    }

    private int StartOf(int capability) =>
        capability < map.Standard.Length ? map.Standard[capability].Offset : map.Extended[capability - map.Standard.Length].Offset;

    private IWriteEffect? WritesOf(in PlacedCapability capability, ReadOnlySpan<byte> raw, IConfigEffects effects) => capability.Action switch
    {
        WriteAction.PowerManagement => new PowerManagementWrites(config, capability.Offset, effects),
        WriteAction.VitalProductData => new VitalProductDataWrites(config, capability.Offset),
        WriteAction.Msi => new MsiWrites(config, MsiCapability.Parse(raw, capability.Offset), effects),
        WriteAction.PciExpress => new PciExpressWrites(config, PciExpressCapability.Parse(raw, capability.Offset), effects),
        WriteAction.AdvancedFeatures => new AdvancedFeaturesWrites(config, AdvancedFeaturesCapability.Parse(raw, capability.Offset), effects),
        _ => null,
    };

    private ImmutableArray<uint> SaveBars() =>
    [
        .. Enumerable.Range(0, ConfigOffset.BarCount).Select(bar => config.Shadow(ConfigOffset.Bar0 + (4 * bar), sizeof(uint))),
        config.Shadow(ConfigOffset.RomBar, sizeof(uint)),
    ];

    /// <summary>What the shadow does not take from hardware (contract §3.2, CF-13, CF-20, CF-30, CF-53).</summary>
    private void Virtualize(IPciFunction function)
    {
        if (function.IsVirtualFunction)
        {
            config.SetShadow(ConfigOffset.VendorId, sizeof(ushort), function.Ids.Vendor);
            config.SetShadow(ConfigOffset.DeviceId, sizeof(ushort), function.Ids.Device);
        }

        if (function.HasNoMemoryEnable())
            config.SetShadow(ConfigOffset.Command, sizeof(byte), config.Shadow(ConfigOffset.Command, sizeof(byte)) | (uint)PciCommand.MemorySpace);
        if (function.HidesInterruptPin())
            config.SetShadow(ConfigOffset.InterruptPin, sizeof(byte), 0);
        foreach (var ((_, offset, width, _, writable, _), type) in map.BaseAddresses)
            config.SetShadow(offset, width, (config.Shadow(offset, width) & writable) | type);
        foreach (var capability in map.Standard.Where(capability => capability.Action == WriteAction.PowerManagement))
            HidePme(capability.Offset);
        if (!map.HasExtendedSpace)
            config.ClearShadow(ConfigOffset.ConventionalSize);
    }

    /// <summary>The user cannot be sent a PME, so none is offered (CF-30).</summary>
    private void HidePme(int start)
    {
        Clear(start + PowerManagementCapability.Capabilities, PowerManagementCapability.PmeSupport);
        Clear(start + PowerManagementCapability.ControlStatus, PowerManagementCapability.PmeEnable | PowerManagementCapability.PmeStatus);
    }

    private void Clear(int at, uint bits) => config.SetShadow(at, sizeof(ushort), config.Shadow(at, sizeof(ushort)) & ~bits);

    /// <summary>The chains of the shadow name the visible capabilities alone and always end (CF-52).</summary>
    private void LinkCapabilities()
    {
        var standard = map.Standard;
        config.SetShadow(ConfigOffset.CapabilitiesPointer, sizeof(byte), standard.IsEmpty ? 0 : (uint)standard[0].Offset);
        if (standard.IsEmpty)
            Clear(ConfigOffset.Status, (uint)PciStatus.CapabilitiesList);
        for (var i = 0; i < standard.Length; i++)
            config.SetShadow(standard[i].Offset + 1, sizeof(byte), Next(standard, i));

        var extended = map.Extended;
        for (var i = 0; i < extended.Length; i++)
        {
            var idAndVersion = extended[i].Rules == ConfigRules.Placeholder ? 0 : config.Shadow(extended[i].Offset, sizeof(uint)) & 0xf_ffff;
            config.SetShadow(extended[i].Offset, sizeof(uint), idAndVersion | (Next(extended, i) << 20));
        }
    }

    private static uint Next(ImmutableArray<PlacedCapability> chain, int i) => i + 1 < chain.Length ? (uint)chain[i + 1].Offset : 0;

    private string Show(int start, in ConfigRegister register)
    {
        Span<byte> value = stackalloc byte[register.Width];
        Read((ulong)(start + register.Offset), value);
        return Hex(LittleEndian.Load(value), register.Width);
    }

    private static string Hex(uint value, int bytes) => "0x" + value.ToString($"x{2 * bytes}", CultureInfo.InvariantCulture);
}
