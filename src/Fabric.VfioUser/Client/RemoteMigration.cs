using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Client;

/// <summary>Migration v2 and the log of DMA of a served device, as DEVICE_FEATURE and MIG_DATA_READ and _WRITE carry them.</summary>
internal sealed class RemoteMigration(ServerConnection server, RemoteDma dma)
{
    public RemoteDma Dma => dma;

    /// <summary>Bytes of state in one message at most.</summary>
    public int MostData => (int)Math.Min(server.Server.MaxTransfer, ServerConnection.MostData);

    /// <summary>Bytes of a bitmap in one report at most.</summary>
    public const int MostBitmap = ServerConnection.MostData / 2;

    /// <summary>What migration the device has; None where it has none. Errors: EIO, ETIMEDOUT.</summary>
    public VfioResult<MigrationFlags> GetFlags()
    {
        var read = Get<VfioDeviceFeatureMigration>(DeviceFeature.Migration);
        if (!read.IsOk)
            return server.IsOver ? read.Error : MigrationFlags.None;
        const MigrationFlags known = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;
        var flags = (MigrationFlags)read.Value.Flags & known;
        return (flags & MigrationFlags.StopCopy) != 0 ? flags : MigrationFlags.None;
    }

    /// <summary>Errors: the server's.</summary>
    public VfioResult<MigrationState> GetState()
    {
        var read = Get<DeviceStatePayload>(DeviceFeature.MigDeviceState);
        if (!read.IsOk)
            return read.Error;
        return Enum.IsDefined(read.Value.State) ? read.Value.State : server.Disbelieve();
    }

    /// <summary>The transition is over when this returns. Errors: the server's.</summary>
    public VfioResult SetState(MigrationState state) =>
        Set(DeviceFeature.MigDeviceState, new DeviceStatePayload(state, -1), server.Options.SlowDeadline);

    /// <summary>Bytes of the state; 0 where the server does not tell: the specification has no such feature. Errors: EIO, ETIMEDOUT.</summary>
    public VfioResult<ulong> GetDataSize()
    {
        var read = Get<VfioDeviceFeatureMigDataSize>(DeviceFeature.MigDataSize);
        if (read.IsOk)
            return read.Value.StopCopyLength;
        return server.IsOver ? read.Error : 0UL;
    }

    /// <summary>
    /// Bytes that there were; 0 at the end, in PRE_COPY for now. Servers may return less before the end (facts §8). Errors: the server's.
    /// </summary>
    public VfioResult<int> ReadData(Span<byte> destination)
    {
        var asked = new MigDataPayload((uint)(MigDataPayload.WireSize + destination.Length), (uint)destination.Length);
        var told = default(MigDataPayload);
        var read = server.Call(Command.MigDataRead, Bytes(in asked), [], [], MemoryMarshal.AsBytes(new Span<MigDataPayload>(ref told)), destination);
        if (!read.IsOk)
            return read.Error;
        // Some pad the message to what was asked for: the length says what is in it (facts §8).
        var came = read.Value - MigDataPayload.WireSize;
        return came >= 0 && told.Length <= (uint)came ? (int)told.Length : server.Disbelieve();
    }

    /// <summary>Errors: the server's.</summary>
    public VfioResult WriteData(ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            var part = source[..Math.Min(source.Length, MostData)];
            var asked = new MigDataPayload((uint)(MigDataPayload.WireSize + part.Length), (uint)part.Length);
            var written = server.Call(Command.MigDataWrite, Bytes(in asked), part, [], [], []);
            if (!written.IsOk)
                return written.Error;
            source = source[part.Length..];
        }

        return VfioResult.Ok;
    }

    // ---- The log of DMA --------------------------------------------------------------------------------------------------------------

    /// <summary>Whether the server logs what its device writes. Errors: EIO, ETIMEDOUT.</summary>
    public VfioResult<bool> HasLog()
    {
        var head = VfioDeviceFeature.Of(DeviceFeature.DmaLoggingStart, FeatureOps.Probe | FeatureOps.Set, 0);
        var probed = server.Call(Command.DeviceFeature, Bytes(in head), [], [], [], []);
        return probed.IsOk || !server.IsOver ? probed.IsOk : probed.Error;
    }

    /// <summary>Errors: the server's.</summary>
    public VfioResult StartLog(ulong iova, ulong length, ulong pageSize)
    {
        Span<byte> data = stackalloc byte[LoggingStartPayload.WireSize + VfioDeviceFeatureDmaLoggingRange.WireSize];
        new LoggingStartPayload(pageSize, 1, 0).Encode(data);
        new VfioDeviceFeatureDmaLoggingRange(iova, length).Encode(data[LoggingStartPayload.WireSize..]);
        return Set(DeviceFeature.DmaLoggingStart, data, server.Options.RequestDeadline);
    }

    /// <summary>Errors: the server's.</summary>
    public VfioResult StopLog() => Set(DeviceFeature.DmaLoggingStop, [], server.Options.RequestDeadline);

    /// <summary>Reads and clears the bits of a range, a bit a page. Errors: the server's.</summary>
    /// <param name="bitmap">As many whole words as the pages fill.</param>
    public VfioResult ReportLog(ulong iova, ulong length, ulong pageSize, Span<byte> bitmap)
    {
        Span<byte> told = stackalloc byte[VfioDeviceFeature.WireSize + LoggingReportPayload.WireSize];
        var head = VfioDeviceFeature.Of(DeviceFeature.DmaLoggingReport, FeatureOps.Get, LoggingReportPayload.WireSize + bitmap.Length);
        var asked = new LoggingReportPayload(iova, length, pageSize);
        var read = server.Call(
            Command.DeviceFeature, Bytes(in head), MemoryMarshal.AsBytes(new ReadOnlySpan<LoggingReportPayload>(in asked)), [], told, bitmap);
        if (!read.IsOk)
            return read.Error;
        return read.Value == told.Length + bitmap.Length ? VfioResult.Ok : server.Disbelieve();
    }

    private VfioResult<T> Get<T>(DeviceFeature feature) where T : unmanaged, IUapiStruct<T>
    {
        var head = VfioDeviceFeature.Of(feature, FeatureOps.Get, Unsafe.SizeOf<T>());
        Span<byte> told = stackalloc byte[VfioDeviceFeature.WireSize];
        var payload = default(T);
        var read = server.Call(Command.DeviceFeature, Bytes(in head), [], [], told, MemoryMarshal.AsBytes(new Span<T>(ref payload)));
        if (!read.IsOk)
            return read.Error;
        return read.Value == told.Length + Unsafe.SizeOf<T>() ? payload : server.Disbelieve();
    }

    private VfioResult Set<T>(DeviceFeature feature, T payload, TimeSpan within) where T : unmanaged, IUapiStruct<T> =>
        Set(feature, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in payload)), within);

    private VfioResult Set(DeviceFeature feature, ReadOnlySpan<byte> data, TimeSpan within)
    {
        var head = VfioDeviceFeature.Of(feature, FeatureOps.Set, data.Length);
        return server.Call(Command.DeviceFeature, Bytes(in head), data, [], [], [], within).Error;
    }

    private static ReadOnlySpan<byte> Bytes<T>(ref readonly T payload) where T : unmanaged => MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in payload));
}
