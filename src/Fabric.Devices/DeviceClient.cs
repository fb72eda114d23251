using System.Runtime.CompilerServices;
using Akka.Actor;
using Fabric.Devices.Asking;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices;

/// <summary>
/// An open device for code that is not an actor: its requests as calls. Each ends within the deadline, with ETIMEDOUT when the device does
/// not answer.
/// </summary>
public sealed class DeviceClient
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private readonly IActorRef front;

    private DeviceClient(IActorRef front, SessionId session) => (this.front, Session) = (front, session);

    public SessionId Session { get; }

    /// <summary>Opens a device for a holder; the session ends with <paramref name="consumer"/>. Errors of <see cref="OpenDevice"/>.</summary>
    public static async Task<VfioResult<DeviceClient>> OpenAsync(IActorRef front, string holder, IActorRef consumer)
    {
        var opened = await AskAsync<DeviceOpened>(front, new OpenDevice(holder, consumer)).ConfigureAwait(false);
        return opened.IsOk ? new DeviceClient(front, opened.Value.Session) : opened.Error;
    }

    public Task<VfioResult> CloseAsync() => DoAsync(new CloseDevice(Session));

    public Task<VfioResult> ResetAsync() => DoAsync(new ResetDevice(Session));

    public async Task<VfioResult<DeviceInfo>> GetInfoAsync()
    {
        var read = await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(Session)).ConfigureAwait(false);
        return read.IsOk ? read.Value.Info : read.Error;
    }

    public async Task<VfioResult<RegionInfo>> GetRegionInfoAsync(int index)
    {
        var read = await AskAsync<RegionInfoRead>(front, new GetRegionInfo(Session, index)).ConfigureAwait(false);
        return read.IsOk ? read.Value.Info : read.Error;
    }

    public async Task<VfioResult<IrqInfo>> GetIrqInfoAsync(int index)
    {
        var read = await AskAsync<IrqInfoRead>(front, new GetIrqInfo(Session, index)).ConfigureAwait(false);
        return read.IsOk ? read.Value.Info : read.Error;
    }

    /// <summary>0 where it was done; else nothing was done, because only so many vectors are to be had .</summary>
    public async Task<VfioResult<int>> SetIrqsAsync(SetIrqs request)
    {
        var set = await AskAsync<DeviceIrqsSet>(front, new SetDeviceIrqs(Session, request)).ConfigureAwait(false);
        return set.IsOk ? set.Value.Available : set.Error;
    }

    public Task<VfioResult> MapDmaAsync(ulong iova, IDmaTarget memory, DmaAccess access = DmaAccess.ReadWrite) =>
        DoAsync(new MapDma(Session, iova, memory, access));

    public Task<VfioResult> UnmapDmaAsync(ulong iova) => DoAsync(new UnmapDma(Session, iova));

    public async Task<VfioResult> WriteAsync(int region, ulong offset, ReadOnlyMemory<byte> data) =>
        await DoAsync<RegionWritten>(new WriteRegion(Session, region, offset, data)).ConfigureAwait(false);

    public async Task<VfioResult<ReadOnlyMemory<byte>>> ReadAsync(int region, ulong offset, int length)
    {
        var read = await AskAsync<RegionRead>(front, new ReadRegion(Session, region, offset, length)).ConfigureAwait(false);
        return read.IsOk ? read.Value.Data : read.Error;
    }

    public async Task<VfioResult<RegionMapping>> MapAsync(int region)
    {
        var mapped = await AskAsync<RegionMapped>(front, new MapRegion(Session, region)).ConfigureAwait(false);
        return mapped.IsOk ? mapped.Value.Mapping : mapped.Error;
    }

    public Task<VfioResult> SetTriggerAsync(IrqIndex index, IEventTarget? target) => DoAsync(new SetTrigger(Session, index, target));

    public async Task<VfioResult<MigrationFlags>> GetMigrationFlagsAsync()
    {
        var read = await AskAsync<MigrationFlagsRead>(front, new GetMigrationFlags(Session)).ConfigureAwait(false);
        return read.IsOk ? read.Value.Flags : read.Error;
    }

    /// <summary>The state reached, with the stream that the transition opened, if any. On failure the state may have advanced (MG-30).</summary>
    public async Task<VfioResult<MigrationStateSet>> SetMigrationStateAsync(MigrationState target) =>
        await AskAsync<MigrationStateSet>(front, new SetMigrationState(Session, target)).ConfigureAwait(false);

    public async Task<VfioResult<MigrationState>> GetMigrationStateAsync()
    {
        var read = await AskAsync<MigrationStateRead>(front, new GetMigrationState(Session)).ConfigureAwait(false);
        return read.IsOk ? read.Value.State : read.Error;
    }

    public async Task<VfioResult<ulong>> GetMigrationDataSizeAsync()
    {
        var read = await AskAsync<MigrationDataSizeRead>(front, new GetMigrationDataSize(Session)).ConfigureAwait(false);
        return read.IsOk ? read.Value.Bytes : read.Error;
    }

    /// <summary>From now on PRECOPY_INFO tells of a fresh start-up set (MG-26).</summary>
    public Task<VfioResult> OptIntoPrecopyInfoV2Async() => DoAsync(new OptIntoPrecopyInfoV2(Session));

    public Task<VfioResult> StartDmaLoggingAsync(ulong iova, ulong length) => DoAsync(new StartDmaLogging(Session, iova, length));

    public Task<VfioResult> StopDmaLoggingAsync() => DoAsync(new StopDmaLogging(Session));

    public async Task<VfioResult<DirtyBitmap>> ReportDmaLoggingAsync()
    {
        var reported = await AskAsync<DmaLoggingReported>(front, new ReportDmaLogging(Session)).ConfigureAwait(false);
        return reported.IsOk ? reported.Value.Dirty : reported.Error;
    }

    /// <summary>FEATURE with PROBE of a feature that is not migration's (IO-80).</summary>
    public async Task<VfioResult<FeatureOperations>> FindFeatureAsync(ushort feature)
    {
        var found = await AskAsync<FeatureFound>(front, new FindFeature(Session, (CoreFeature)feature)).ConfigureAwait(false);
        return found.IsOk ? found.Value.Operations : found.Error;
    }

    /// <summary>GET or SET of a feature of a driver's own; the payload of a GET, empty after a SET.</summary>
    public async Task<VfioResult<ReadOnlyMemory<byte>>> UseFeatureAsync(ushort feature, FeatureOperations operation, ReadOnlyMemory<byte> payload)
    {
        var used = await AskAsync<FeatureUsed>(front, new UseFeature(Session, feature, operation, payload)).ConfigureAwait(false);
        return used.IsOk ? used.Value.Payload : used.Error;
    }

    private async Task<VfioResult> DoAsync(DeviceRequest request) => await DoAsync<DeviceDone>(request).ConfigureAwait(false);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<VfioResult> DoAsync<T>(DeviceRequest request)
        where T : DeviceReply
    {
        var done = await AskAsync<T>(front, request).ConfigureAwait(false);
        return done.IsOk ? VfioResult.Ok : done.Error;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private static async ValueTask<VfioResult<T>> AskAsync<T>(IActorRef front, DeviceRequest request)
        where T : DeviceReply
    {
        var asked = AskingThread.Current is { } thread
            ? thread.AskAsync(front, request, Deadline)
            : new ValueTask<DeviceReply>(front.Ask<DeviceReply>(request, Deadline));
        try
        {
            return await asked.ConfigureAwait(false) switch
            {
                T reply => reply,
                DeviceFailed failed => failed.Error,
                var other => new VfioError(Errno.EIO, $"The device answered {request.GetType().Name} with {other.GetType().Name}; its driver is at fault."),
            };
        }
        catch (AskTimeoutException)
        {
            return new VfioError(Errno.ETIMEDOUT, $"The device did not answer {request.GetType().Name} within {Deadline.TotalSeconds} s.");
        }
    }
}
