using Fabric.Devices;
using Fabric.Migration.Wire;
using Fabric.Vfio;

namespace Fabric.Migration.Fleet;

/// <summary>What operators ask of a host's drivers.</summary>
public sealed partial class DeviceOperations
{
    private async Task<IWireMessage> RunAsync(IDriverOperation operation)
    {
        HostRequest? request = operation switch
        {
            ShowDrivers => ListDrivers.Instance,
            LoadPlugins load => new LoadDrivers(load.Plugin, load.By),
            UnloadPlugin unload => new UnloadDriver(unload.Name, unload.By),
            _ => null,
        };
        if (request is null)
            return Unknown(operation);
        var about = operation.Subject;
        return await AskAsync<object>(request with { PlanOnly = operation.PlanOnly }, operation is ShowDrivers ? Soon : Work) switch
        {
            null => Refuse(about, Errno.ETIMEDOUT, $"{host} has not answered in time. What was asked may go on; look at it with 'fabric driver list'."),
            DriverList list => new DriversShown([.. list.Drivers.Select(DeviceEntries.Of)]),
            HostDone => new OperationDone(about),
            CommandPlanned planned => Planned(operation, planned),
            DeviceFailed failed => new OperationRefused(about, failed.Error.Errno.ToString(), failed.Error.Sentence),
            var reply => Refuse(about, Errno.EIO, $"{host} answered with a {reply.GetType().Name}, which does not belong to the question."),
        };
    }
}
