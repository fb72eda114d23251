using System.Collections.Immutable;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Emulated.Models;

namespace Fabric.Hardware.Emulated;

/// <param name="Description">One line.</param>
public sealed record EmulatedModel(string Name, string Description);

/// <summary>The cards that an emulated host can have.</summary>
public static class EmulatedModels
{
    public const string Accelerator = "accelerator";
    public const string MultiFunction = "multi-function";
    public const string Conventional = "conventional";
    public const string NoFlr = "no-flr";
    public const string HungReset = "hung-reset";
    public const string NotReady = "not-ready";
    public const string Null = "null";

    /// <summary>VFs of a card where the options do not say how many.</summary>
    private const int DefaultVfs = 7;

    private const int FunctionsPerBus = 256;

    private static readonly ImmutableArray<(EmulatedModel Model, Action<BusBuilder, int> Add)> Kinds =
    [
        (new(Accelerator, "PF with SR-IOV, MSI-X and AER; the host makes its VFs, which have the accelerator's engine"), Each(AddAccelerator)),
        (new(MultiFunction, "four functions without ACS: one IOMMU group, one slot, reset together; MSI-X, INTx, VPD"), Each(AddMultiFunction)),
        (new(Conventional, "PCI device behind a PCIe-to-PCI bridge, in one group with it: I/O BAR, INTx alone, no AER"), Each(AddConventional)),
        (new(NoFlr, "endpoint without FLR: reset by D3hot or by its bus alone; MSI, INTx, ROM; on no slot"), Each(AddNoFlr)),
        (new(HungReset, "its function reset does not return until it is released"), Each(static builder => AddAlone(builder, BenchModels.HungReset))),
        (new(NotReady, "answers nothing for 65 s after a function reset, longer than a host waits"),
            Each(static builder => AddAlone(builder, BenchModels.NotReady))),
        (new(Null, "a header and nothing else; by the hundred thousand"), AddNull),
    ];

    public static ImmutableArray<EmulatedModel> All { get; } = [.. Kinds.Select(static kind => kind.Model)];

    /// <exception cref="ArgumentException">There is no such model.</exception>
    internal static void Add(BusBuilder builder, EmulatedCard card)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(card.Count);
        var kind = Kinds.FirstOrDefault(kind => kind.Model.Name == card.Model);
        if (kind.Model is null)
        {
            var known = string.Join(", ", All.Select(static known => known.Name));
            throw new ArgumentException($"There is no emulated model '{card.Model}'; there are {known}.", nameof(card));
        }

        var before = builder.Functions.Count;
        kind.Add(builder, card.Count);
        for (var added = before; card.Fault is { } fault && added < builder.Functions.Count; added++)
            builder.Functions[added].SetResetFault(fault);
    }

    internal static void AddAccelerator(BusBuilder builder, int vfs, bool isStatic)
    {
        var slot = builder.AddRootPort(PortTraits.Slot());
        var physical = new AcceleratorPhysicalFunction(BusBuilder.Below(slot, 0), vfs, isStatic, builder.Options.StateBytes, builder.Time);
        builder.Add(physical);
        for (var number = 1; isStatic && number <= vfs; number++)
            builder.Add(new AcceleratorVirtualFunction(BusBuilder.Below(slot, number), builder.Options.StateBytes, builder.Time));
    }

    private static void AddAccelerator(BusBuilder builder) => AddAccelerator(
        builder, builder.Options.FunctionsPerAccelerator == 0 ? DefaultVfs : builder.Options.FunctionsPerAccelerator, isStatic: false);

    private static void AddMultiFunction(BusBuilder builder)
    {
        var slot = builder.AddRootPort(PortTraits.Slot(Grouping.Together));
        for (var function = 0; function < BenchModels.MultiFunctions; function++)
            builder.Add(new BenchFunction(BusBuilder.Below(slot, function), BenchModels.MultiFunction));
    }

    private static void AddConventional(BusBuilder builder)
    {
        var bridge = builder.AddBridge(builder.AddRootPort(PortTraits.Slot()), PortTraits.ConventionalBridge);
        builder.Add(new BenchFunction(BusBuilder.Below(bridge, 0), BenchModels.Conventional));
    }

    private static void AddNoFlr(BusBuilder builder) =>
        builder.Add(new BenchFunction(BusBuilder.Below(builder.AddRootPort(PortTraits.Soldered()), 0), BenchModels.NoFunctionLevelReset));

    private static void AddAlone(BusBuilder builder, FunctionModel model) =>
        builder.Add(new BenchFunction(BusBuilder.Below(builder.AddRootPort(PortTraits.Slot()), 0), model));

    /// <summary>As many to a bus as there are addresses; each in a group and a device set of its own all the same.</summary>
    private static void AddNull(BusBuilder builder, int count)
    {
        for (var added = 0; added < count; added += FunctionsPerBus)
        {
            var port = builder.AddRootPort(PortTraits.Unresettable);
            for (var devfn = 0; devfn < Math.Min(FunctionsPerBus, count - added); devfn++)
                builder.Add(new NullFunction(BusBuilder.Below(port, devfn)));
        }
    }

    private static Action<BusBuilder, int> Each(Action<BusBuilder> add) => (builder, count) =>
    {
        for (; count > 0; count--)
            add(builder);
    };
}
