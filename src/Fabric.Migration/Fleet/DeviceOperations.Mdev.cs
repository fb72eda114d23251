using System.Globalization;
using Fabric.Devices;
using Fabric.Devices.Mdev;
using Fabric.Migration.Wire;
using Fabric.Vfio;

namespace Fabric.Migration.Fleet;

/// <summary>What is done with mediated devices.</summary>
public sealed partial class DeviceOperations
{
    private async Task<IWireMessage> RunAsync(IMdevOperation operation) => operation switch
    {
        ReadMdevTypes => await AskAsync(operation, ListMdevTypes.Instance, Soon),
        ReadMdevs => await AskAsync(operation, ListMdevs.Instance, Soon),
        PlanMdev plan => await AskAsync(operation, new DefineMdev(plan.Uuid, plan.Parent, plan.Type, plan.AutoStart, plan.By), Soon),
        BringMdevUp up => await AskAsync(operation, new StartMdev(up.Uuid, up.By), Work),
        TakeMdevDown down => await TakeDownAsync(down),
        DropMdev drop => await AskAsync(operation, new UndefineMdev(drop.Uuid, drop.By), Soon),
        _ => Unknown(operation),
    };

    private async Task<IWireMessage> AskAsync(IMdevOperation operation, MdevRequest request, TimeSpan deadline) =>
        await AskAsync<object>(request with { PlanOnly = operation.PlanOnly }, deadline) is { } reply ? Answer(operation, reply) : Late(operation);

    private OperationRefused Late(IMdevOperation operation) => Refuse(
        operation.Subject, Errno.ETIMEDOUT,
        $"{host}/{operation.Subject}: no answer in time. What was asked may go on; see 'fabric mdev list {host}'.");

    /// <summary>As the removal of any device: who asked is told when it takes long, and it goes on.</summary>
    private async Task<IWireMessage> TakeDownAsync(TakeMdevDown down)
    {
        var force = down.ForceAfterMs is { } after ? TimeSpan.FromMilliseconds(after) : (TimeSpan?)null;
        if (await AskAsync<object>(new StopMdev(down.Uuid, down.By, force) { PlanOnly = down.PlanOnly }, PatienceWith(force)) is { } reply)
            return Answer(down, reply);
        if (await AskAsync<MdevsListed>(ListMdevs.Instance, Soon) is not { } known
            || await AskAsync<DeviceList>(ListDevices.Instance, Soon) is not { } devices)
        {
            return Late(down);
        }

        if (known.Mdevs.FirstOrDefault(mdev => mdev.Definition.Uuid == down.Uuid) is not { } still)
            return Refuse(down.Subject, Errno.ENODEV, $"{host}/{down.Subject} is defined no more.");
        return still.Address is { } address && devices.Devices.FirstOrDefault(device => device.Address == address) is { } held
            ? Awaited(address.ToString(), held, force)
            : new MdevDone(EntryOf(still));
    }

    private IWireMessage Answer(IMdevOperation operation, object reply) => reply switch
    {
        MdevTypesListed types => new MdevTypesRead(
            [.. types.Types.Select(static of => EntryOf(of.Parent, of.Type))]),
        MdevsListed mdevs => new MdevsRead(
            [.. mdevs.Mdevs.Select(EntryOf)], [.. mdevs.Unusable.Select(static file => new UnusableMdev(file.File, file.Why))]),
        CommandPlanned planned => Planned(operation, planned),
        MdevChanged changed => new MdevDone(EntryOf(changed.Mdev)),
        DeviceFailed failed => new OperationRefused(operation.Subject, failed.Error.Errno.ToString(), failed.Error.Sentence),
        _ => Refuse(operation.Subject, Errno.EIO, $"{host} answered with a {reply.GetType().Name}, which does not belong to the question."),
    };

    private static MdevTypeEntry EntryOf(string parent, MdevType type) =>
        new(parent, type.Id, type.Name, type.Description, type.AvailableInstances);

    private static MdevEntry EntryOf(MdevStatus mdev) => new(
        mdev.Definition.Uuid, mdev.Definition.Parent, mdev.Definition.Type, mdev.Definition.AutoStart,
        mdev.State.ToString().ToLower(CultureInfo.InvariantCulture), mdev.Address?.ToString(), mdev.Reason);
}
