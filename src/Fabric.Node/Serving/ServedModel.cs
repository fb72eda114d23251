using System.Collections.Immutable;
using Fabric.Devices.Mdev;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Mdev;
using Fabric.Vfio;

namespace Fabric.Node.Serving;

/// <summary>A model as it is served: one card and a function of it, or a device that a parent makes.</summary>
/// <param name="Description">One line.</param>
/// <param name="Make">Its hardware, new.</param>
internal sealed record ServedModel(string Name, string Description, Func<ServedHardware> Make)
{
    private const long StateBytes = 64 << 20;

    public static ImmutableArray<ServedModel> All { get; } =
    [
        .. EmulatedModels.All.Select(static model => new ServedModel(model.Name, model.Description, () => Card(model))),
        .. EmulatedMdevParents.Names.SelectMany(static parent => EmulatedMdevParents.Create(parent).Types.Select(type =>
            new ServedModel(type.Id, type.Description, () => Mediated(parent, type.Id)))),
    ];

    public static ServedModel? Find(string name) => All.FirstOrDefault(model => model.Name == name);

    /// <summary>Of a card that has virtual functions the first of them, as a guest would be given it.</summary>
    private static ServedHardware Card(EmulatedModel model)
    {
        var card = new EmulatedCard(model.Name, VirtualFunctions: Math.Min(1, model.TotalVirtualFunctions));
        var bus = new EmulatedBus(
            model.Name == EmulatedModels.Accelerator
                ? new EmulatedBusOptions(1, 1, StateBytes)
                : new EmulatedBusOptions(0, 0, StateBytes) { Cards = [card] },
            TimeProvider.System);
        return new ServedHardware(bus, bus.Functions.FirstOrDefault(static function => function.IsVirtualFunction) ?? bus.Functions[0], bus);
    }

    private static ServedHardware Mediated(string parent, string type)
    {
        var bus = new MdevBus(EmulatedMdevParents.Create(parent));
        var function = bus.Create(parent, type, Guid.NewGuid()).Value.Function;
        return new ServedHardware(bus, function, function as IDisposable);
    }
}

/// <param name="Function">The one that is served.</param>
internal sealed record ServedHardware(IPciBus Bus, IPciFunction Function, IDisposable? Owner) : IDisposable
{
    public void Dispose() => Owner?.Dispose();
}
