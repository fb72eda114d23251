using System.Collections.Immutable;
using Fabric.Hardware.Emulated.Accelerator;

namespace Fabric.Hardware.Emulated;

/// <param name="Description">One line.</param>
public sealed record EmulatedModel(string Name, string Description);

/// <summary>The cards that an emulated host can have.</summary>
public static class EmulatedModels
{
    public const string Accelerator = "accelerator";

    private static readonly ImmutableArray<(EmulatedModel Model, Action<BusBuilder> Add)> Kinds =
    [
        (new(Accelerator, "A physical function with SR-IOV, MSI-X and AER; the host makes its virtual functions, which have the accelerator's engine."),
            static builder => AddAccelerator(builder, DefaultVfs(builder.Options), isStatic: false)),
    ];

    public static ImmutableArray<EmulatedModel> All { get; } = [.. Kinds.Select(static kind => kind.Model)];

    /// <exception cref="ArgumentException">There is no such model.</exception>
    internal static void Add(BusBuilder builder, string model, int count)
    {
        var kind = Kinds.FirstOrDefault(kind => kind.Model.Name == model);
        if (kind.Model is null)
            throw new ArgumentException($"There is no emulated model '{model}'; there are {string.Join(", ", All.Select(static known => known.Name))}.", nameof(model));
        for (; count > 0; count--)
            kind.Add(builder);
    }

    internal static void AddAccelerators(BusBuilder builder, int count, int functions, bool isStatic)
    {
        for (; count > 0; count--)
            AddAccelerator(builder, functions, isStatic);
    }

    private static void AddAccelerator(BusBuilder builder, int vfs, bool isStatic)
    {
        var slot = builder.AddRootPort(PortTraits.Slot());
        var physical = new AcceleratorPhysicalFunction(BusBuilder.Below(slot, 0), vfs, isStatic, builder.Options.StateBytes, builder.Time);
        builder.Add(physical);
        for (var number = 1; isStatic && number <= vfs; number++)
            builder.Add(new AcceleratorVirtualFunction(BusBuilder.Below(slot, number), builder.Options.StateBytes, builder.Time));
    }

    private static int DefaultVfs(EmulatedBusOptions options) => options.FunctionsPerAccelerator == 0 ? 7 : options.FunctionsPerAccelerator;
}
