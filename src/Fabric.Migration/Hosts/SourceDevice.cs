using Fabric.Migration.DataPlane;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using static Fabric.Migration.Hosts.MigrationBrokenException;

namespace Fabric.Migration.Hosts;

/// <summary>What a device would still have to give.</summary>
/// <param name="Bytes">If it were stopped now.</param>
/// <param name="Dirty">Of these, what changed since it was given; 0 of a device without PRE_COPY, which gives all of its state at the end.</param>
/// <param name="HasStarted">Its start-up state has been given whole (MG-26).</param>
internal readonly record struct DevicePending(long Bytes, long Dirty, bool HasStarted);

/// <summary>
/// One device of a source, and the stream that its state goes through: one writer, in order (MG-24). A device without PRE_COPY gives its state
/// only when it stands, and one that does not log its DMA may have written all of memory by then (MG-40, MG-52).
/// </summary>
internal sealed class SourceDevice(HeldDevice held, MigrationWriter writer, TimeProvider time)
{
    /// <summary>How soon a device is asked again that makes its state still.</summary>
    private static readonly TimeSpan NotYet = TimeSpan.FromMilliseconds(1);

    /// <summary>Of PRE_COPY, which goes on in STOP_COPY; null for a device without it.</summary>
    private IMigrationStream? stream;

    public MigrationWriter Writer => writer;

    public HeldDevice Held => held;

    public bool IsSaving => stream is not null;

    /// <summary>It tells which pages it wrote; one that does not may have written any.</summary>
    public bool LogsDma { get; private set; }

    /// <summary>Logs what it writes from here on, and begins to give its state while it runs.</summary>
    public async Task StartAsync(ulong iova, ulong length)
    {
        var logging = await held.Client.StartDmaLoggingAsync(iova, length);
        if (logging.Error.Errno is not (Errno.None or Errno.ENOTTY))
            ThrowUnless(logging, $"{held.Address} could not log its DMA");
        LogsDma = logging.IsOk;
        if (!held.Has(MigrationFlags.PreCopy))
            return;
        // Without it a fresh start-up set looks like any other dirt, and is not waited for.
        var opted = await held.Client.OptIntoPrecopyInfoV2Async();
        if (opted.Error.Errno is not (Errno.None or Errno.ENOTTY or Errno.EINVAL))
            ThrowUnless(opted, $"{held.Address} could not opt into PRECOPY_INFO version 2");
        stream = ValueOf(await held.Client.SetMigrationStateAsync(MigrationState.PreCopy), $"{held.Address} could not enter PRE_COPY").Stream!;
    }

    public async Task ReadLogAsync(DirtyBitmap dirty)
    {
        if (LogsDma)
            dirty.MergeFrom(ValueOf(await held.Client.ReportDmaLoggingAsync(), $"{held.Address} could not read its DMA log"));
        else
            dirty.Mark(dirty.Iova, dirty.Length);
    }

    public async Task<DevicePending> LookAsync()
    {
        if (stream is null)
        {
            var size = ValueOf(await held.Client.GetMigrationDataSizeAsync(), $"{held.Address} could not tell the size of its state");
            return new DevicePending((long)size, Dirty: 0, HasStarted: true);
        }

        var info = ValueOf(stream.GetPrecopyInfo(), $"{held.Address} could not read PRECOPY_INFO");
        return new DevicePending((long)(info.InitialBytes + info.DirtyBytes), (long)info.DirtyBytes, info is { InitialBytes: 0, Reinit: false });
    }

    /// <summary>Sends what there is for now (MG-22), or what there was at first: under a limit it may never run out.</summary>
    public Task SendRoundAsync(long enough, Action sent, CancellationToken cancellation) =>
        stream is null ? Task.CompletedTask : SendAsync(stream, enough, sent, cancellation);

    /// <summary>Sends the rest, to the end.</summary>
    /// <param name="stopped">Of STOP_COPY, where there was no PRE_COPY.</param>
    public Task SendRestAsync(IMigrationStream? stopped, CancellationToken cancellation) =>
        SendAsync(stream ?? stopped!, long.MaxValue, static () => { }, cancellation);

    private async Task SendAsync(IMigrationStream from, long enough, Action sent, CancellationToken cancellation)
    {
        for (long done = 0; done < enough;)
        {
            var room = await writer.GetMemoryAsync(MigrationWriter.SliceBytes, cancellation);
            var read = from.Read(room.Span);
            if (read.Error.Errno == Errno.ENOMSG)
                return;
            if (read.Error.Errno == Errno.EAGAIN)
            {
                // Hardware that saves by itself is slower than this (VD-MLX-3); one that is being reset soon says what became of the stream.
                await Task.Delay(NotYet, time, cancellation);
                continue;
            }

            var length = ValueOf(read, $"The state of {held.Address} could not be read");
            if (length == 0)
                return;
            await writer.CommitDeviceStateAsync(length, cancellation);
            sent();
            done += length;
        }
    }
}
