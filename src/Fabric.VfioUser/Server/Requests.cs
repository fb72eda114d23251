using System.Runtime.CompilerServices;
using Fabric.Devices;
using Fabric.Vfio;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>A client's requests as messages to its device. There is no other way to the device from here.</summary>
internal sealed class Requests : IDisposable
{
    private readonly DeviceClient device;
    private readonly InfoRequests info;
    private readonly RegionRequests regions;
    private readonly DmaRequests memory;
    private readonly IrqRequests irqs;
    private readonly MigrationRequests migration;
    private readonly FeatureRequests features;

    /// <param name="agreed">What VERSION came to.</param>
    public Requests(DeviceClient device, PeerCapabilities agreed, ClientDma dma)
    {
        this.device = device;
        info = new InfoRequests(device);
        regions = new RegionRequests(device, info, agreed.WritesMultiple);
        memory = new DmaRequests(device, dma, (int)agreed.MaxDmaMaps);
        irqs = new IrqRequests(device, info, dma);
        migration = new MigrationRequests(device, agreed.MaxTransfer);
        features = new FeatureRequests(device, migration, new LoggingRequests(device, memory, agreed.MaxTransfer));
    }

    /// <summary>Carries a request out, and puts its answer's payload into the reply. What it is refused with is an errno for the client.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<VfioResult> CarryOutAsync(Message request, Reply reply)
    {
        if (request.Fault.Errno != Errno.None)
            return request.Fault;
        if (!request.Header.IsCommand)
            return VfioResult.Fail(Errno.EINVAL, "The message is neither command nor reply.");
        var command = request.Header.Command;
        if (request.Descriptors.IsTooMany || (request.Descriptors.Count > 0 && command is not (Command.DmaMap or Command.DeviceSetIrqs)))
            return Refused.Descriptors;
        return command switch
        {
            Command.DmaMap => await memory.MapAsync(request).ConfigureAwait(false),
            Command.DmaUnmap => await memory.UnmapAsync(request, reply).ConfigureAwait(false),
            Command.DeviceGetInfo => await info.DeviceAsync(request, reply).ConfigureAwait(false),
            Command.DeviceGetRegionInfo => await info.RegionAsync(request, reply).ConfigureAwait(false),
            Command.DeviceGetRegionIoFds => await info.RegionIoFdsAsync(request, reply).ConfigureAwait(false),
            Command.DeviceGetIrqInfo => await info.IrqAsync(request, reply).ConfigureAwait(false),
            Command.DeviceSetIrqs => await irqs.SetAsync(request).ConfigureAwait(false),
            Command.RegionRead => await regions.ReadAsync(request, reply).ConfigureAwait(false),
            Command.RegionWrite => await regions.WriteAsync(request, reply).ConfigureAwait(false),
            Command.RegionWriteMulti => await regions.WriteMultiAsync(request, reply).ConfigureAwait(false),
            Command.DeviceReset => request.Length == 0 ? await device.ResetAsync().ConfigureAwait(false) : Refused.Length,
            Command.DeviceFeature => await features.UseAsync(request, reply).ConfigureAwait(false),
            Command.MigDataRead => migration.Read(request, reply),
            Command.MigDataWrite => migration.Write(request),
            Command.Version => VfioResult.Fail(Errno.EINVAL, "VERSION comes once, before everything else."),
            Command.DmaRead or Command.DmaWrite => VfioResult.Fail(Errno.EINVAL, "DMA_READ and DMA_WRITE are the server's to send."),
            _ => VfioResult.Fail(Errno.EINVAL, "There is no such command."),
        };
    }

    /// <summary>Lets go of what the client gave, once the device uses it no more.</summary>
    public void Dispose()
    {
        migration.Dispose();
        irqs.Dispose();
        memory.Dispose();
    }
}
