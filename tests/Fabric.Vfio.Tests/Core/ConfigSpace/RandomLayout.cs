using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>A well-formed function with random capabilities, visible and hidden, in random places and order: known, not parsed.</summary>
internal sealed class RandomLayout
{
    private static readonly FunctionTraits[] AnyTraits =
        [FunctionTraits.None, FunctionTraits.VirtualFunction, FunctionTraits.NoMemoryEnable, FunctionTraits.BrokenIntx];

    private readonly Random random;

    public RandomLayout(int seed)
    {
        random = new Random(seed);
        var builder = new ConfigBuilder();
        for (var at = ConfigOffset.Bar0; at < ConfigOffset.CardBusCis; at += 4)
            builder.Dword(at, (uint)random.NextInt64(1L << 32));
        builder.Word(ConfigOffset.Command, (ushort)random.Next(0x400)).Byte(ConfigOffset.InterruptPin, (byte)random.Next(5));

        Standard = Place(CapabilitySamples.Standard, CapabilitySamples.HiddenStandard, isExtended: false, 0x40, 0x100);
        Extended = Place(CapabilitySamples.Extended, CapabilitySamples.HiddenExtended, isExtended: true, 0x100, 0x1000);
        foreach (var (sample, offset) in Standard.Concat(Extended))
            sample.AddTo(builder, offset);

        Function = builder.Build(AnyTraits[random.Next(AnyTraits.Length)]);
        Function.HasLine = random.Next(4) != 0;
        Function.Bars = Bars();
        Function.Rom = new PciRom((ulong)random.Next(2) * 0x8000, 0, (ulong)random.Next(2) * 0x5000);
        if (random.Next(4) != 0 && Standard.Find(placed => placed.Sample.Masks == "VPD") is { Sample: not null } vpd)
            Function.AnsweringVpd = vpd.Offset;
        CapabilitySamples.ClearByOneInHeader(Function);
        foreach (var (sample, offset) in Standard.Concat(Extended))
            CapabilitySamples.ClearByOne(Function, sample, offset);
    }

    public ConfigFunction Function { get; }

    /// <summary>In chain order.</summary>
    public List<(CapabilitySample Sample, int Offset)> Standard { get; }

    /// <summary>In chain order.</summary>
    public List<(CapabilitySample Sample, int Offset)> Extended { get; }

    public bool HasExtendedSpace =>
        Extended.Count > 0 && Standard.Exists(placed => placed.Sample.Id == (int)StandardCapability.PciExpress || placed.Sample.Masks == "PCIX2");

    private List<(CapabilitySample, int)> Place(CapabilitySample[] visible, int[] hidden, bool isExtended, int start, int end)
    {
        CapabilitySample[] kinds = [.. visible, .. hidden.Select(id => new CapabilitySample(null, id, isExtended ? 8 : 4, isExtended))];
        random.Shuffle(kinds);
        // One of a kind: a second MSI or VPD would be no function of this world.
        kinds = [.. kinds.DistinctBy(sample => (sample.Id, sample.Masks is null))];
        var free = start;
        var placed = new List<(CapabilitySample, int)>();
        foreach (var sample in kinds.Take(random.Next(10)))
        {
            // The first of all must be at 0x100; a dword of gap now and then.
            var at = placed.Count == 0 && isExtended ? start : free + (4 * random.Next(3));
            if (at + sample.Length > end)
                break;
            placed.Add((sample, at));
            free = (at + sample.Length + 3) & ~3;
        }

        if (isExtended && placed.Count > 0)
            return [placed[0], .. Shuffled(placed.Skip(1))];
        return [.. Shuffled(placed)];
    }

    private (CapabilitySample, int)[] Shuffled(IEnumerable<(CapabilitySample, int)> placed)
    {
        var order = placed.ToArray();
        random.Shuffle(order);
        return order;
    }

    private PciBar[] Bars()
    {
        var bars = new PciBar[6];
        for (var bar = 0; bar < 6; bar++)
        {
            var kind = (BarKind)random.Next(4);
            if (kind == BarKind.None || (kind == BarKind.Memory64 && bar == 5))
                continue;
            bars[bar] = new PciBar(kind, 1UL << random.Next(2, kind == BarKind.Memory64 ? 40 : 30), random.Next(2) == 0);
            if (kind == BarKind.Memory64)
                bar++;
        }

        return bars;
    }
}
