using System.Buffers.Binary;
using System.Numerics;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;

namespace Fabric.Drivers.Mlx5;

/// <summary>How much there is to save.</summary>
/// <param name="Chunk">Bytes of the next chunk at most; 0 where there is nothing.</param>
/// <param name="Total">Bytes of all of them.</param>
/// <param name="IsMigrating">A migration is under way, whoever began it.</param>
internal readonly record struct Mlx5Size(uint Chunk, ulong Total, bool IsMigrating);

/// <summary>What a poll of the tracker's queue pair gave.</summary>
/// <param name="Told">Dirty pages that were told of.</param>
internal readonly record struct Mlx5Polled(int Told, Mlx5TrackerState State);

/// <summary>
/// How a VF's firmware is told, by the driver of the PF. Knows nothing of the uAPI. Errors of all: ENOTCONN when that driver has gone
/// (VD-MLX-5), EIO; of what firmware refuses, as the kernel has them: EINVAL for a bad parameter or state, ENOMEM past a limit, EIO.
/// </summary>
internal sealed class Mlx5Commands
{
    private readonly IPfChannel channel;

    private Mlx5Commands(IPfChannel channel, ReadOnlySpan<byte> capabilities)
    {
        this.channel = channel;
        MaxLoadBytes = (int)Math.Min(int.MaxValue / 2, BinaryPrimitives.ReadUInt32BigEndian(capabilities[Mlx5Capabilities.MaxLoadBytes..]));
        MaxTrackerRanges = (int)Math.Clamp(BinaryPrimitives.ReadUInt32BigEndian(capabilities[Mlx5Capabilities.MaxTrackerRanges..]), 1u, 1024u);
        TrackerPageSizes = BinaryPrimitives.ReadUInt64BigEndian(capabilities[Mlx5Capabilities.TrackerPageSizes..]);
    }

    /// <summary>Bytes of the largest image that the VF loads.</summary>
    public int MaxLoadBytes { get; }

    public int MaxTrackerRanges { get; }

    /// <summary>Bit n stands for 2^n bytes.</summary>
    public ulong TrackerPageSizes { get; }

    /// <summary>Takes the VF. Errors: EOPNOTSUPP where the PF is no mlx5's, and those of all.</summary>
    public static VfioResult<Mlx5Commands> Attach(IPfChannel channel)
    {
        if (channel.Protocol != Mlx5Command.Protocol)
            return new VfioError(Errno.EOPNOTSUPP, "The driver of the PF takes no mlx5 commands; use the driver of its hardware.");
        Span<byte> reply = stackalloc byte[Mlx5Reply.Bytes];
        var told = Tell(channel, Command(Mlx5Opcode.QueryCapabilities), reply);
        return told.IsOk ? new Mlx5Commands(channel, reply) : told.Error;
    }

    public VfioResult Suspend(Mlx5Half half) => Tell(Command(Mlx5Opcode.SuspendVhca, half: half));

    public VfioResult Resume(Mlx5Half half) => Tell(Command(Mlx5Opcode.ResumeVhca, half: half));

    /// <param name="flags"><see cref="Mlx5Flags.Incremental"/> for what changed since the last image.</param>
    public VfioResult<Mlx5Size> QuerySize(Mlx5Flags flags)
    {
        Span<byte> reply = stackalloc byte[Mlx5Reply.Bytes];
        var told = Tell(channel, Command(Mlx5Opcode.QueryVhcaMigrationState, flags), reply);
        return told.IsOk
            ? new Mlx5Size(
                BinaryPrimitives.ReadUInt32BigEndian(reply[Mlx5StateSize.Required..]),
                BinaryPrimitives.ReadUInt64BigEndian(reply[Mlx5StateSize.RemainingTotal..]),
                BinaryPrimitives.ReadUInt32BigEndian(reply[Mlx5StateSize.IsMigrating..]) != 0)
            : told.Error;
    }

    /// <summary>
    /// Starts to save a chunk. The reply, of <see cref="Mlx5Reply.Bytes"/> and as much image as there is room for, is firmware's until it is
    /// completed with the reply's bytes; what firmware refuses is in it (<see cref="StatusOf"/>).
    /// </summary>
    public VfioResult Save(Mlx5Flags flags, Memory<byte> reply, Action<VfioResult<int>> completed)
    {
        var command = Command(Mlx5Opcode.SaveVhcaState, flags);
        BinaryPrimitives.WriteInt32BigEndian(command.AsSpan(Mlx5Command.Size), reply.Length - Mlx5Reply.Bytes);
        return channel.Submit(command, reply, completed);
    }

    /// <summary>Tracking ends, and what was saved is discarded.</summary>
    public VfioResult CleanUp() => Tell(Command(Mlx5Opcode.SaveVhcaState, Mlx5Flags.CleanUp));

    /// <summary>Loads an image that lies behind room for the command. Returns whether the state is whole with it.</summary>
    /// <param name="command"><see cref="Mlx5Command.Bytes"/>, which are written here, and the image.</param>
    public VfioResult<bool> Load(Span<byte> command, bool isFirst)
    {
        Span<byte> reply = stackalloc byte[Mlx5Reply.Bytes];
        Command(Mlx5Opcode.LoadVhcaState, isFirst ? Mlx5Flags.First : Mlx5Flags.None).CopyTo(command);
        BinaryPrimitives.WriteInt32BigEndian(command[Mlx5Command.Size..], command.Length - Mlx5Command.Bytes);
        var told = Tell(channel, command, reply);
        return told.IsOk ? BinaryPrimitives.ReadUInt32BigEndian(reply[Mlx5Loaded.IsWhole..]) != 0 : told.Error;
    }

    /// <summary>A queue pair for a page tracker. Returns its number.</summary>
    public VfioResult<uint> CreateQueue() => Create(Command(Mlx5Opcode.CreateQp));

    public VfioResult DestroyQueue(uint queue) => Tell(Command(Mlx5Opcode.DestroyQp, number: queue));

    public VfioResult<uint> CreateTracker(uint queue, IReadOnlyList<IovaRange> ranges, ulong pageSize)
    {
        var command = Command(Mlx5Opcode.CreateTracker, number: queue, behind: ranges.Count * Mlx5Tracker.RangeBytes);
        BinaryPrimitives.WriteInt32BigEndian(command.AsSpan(Mlx5Tracker.PageShift), BitOperations.Log2(pageSize));
        BinaryPrimitives.WriteInt32BigEndian(command.AsSpan(Mlx5Command.Size), ranges.Count * Mlx5Tracker.RangeBytes);
        for (var range = 0; range < ranges.Count; range++)
        {
            var at = command.AsSpan(Mlx5Command.Bytes + (range * Mlx5Tracker.RangeBytes));
            BinaryPrimitives.WriteUInt64BigEndian(at, ranges[range].First);
            BinaryPrimitives.WriteUInt64BigEndian(at[8..], ranges[range].Last);
        }

        return Create(command);
    }

    public VfioResult DestroyTracker(uint tracker) => Tell(Command(Mlx5Opcode.DestroyTracker, number: tracker));

    /// <summary>Has the dirty pages of a range told by the queue pair.</summary>
    public VfioResult ReportTracker(uint tracker, IovaRange range)
    {
        var command = Command(Mlx5Opcode.ReportTracker, number: tracker);
        BinaryPrimitives.WriteUInt64BigEndian(command.AsSpan(Mlx5Tracker.ReportFirst), range.First);
        BinaryPrimitives.WriteUInt64BigEndian(command.AsSpan(Mlx5Tracker.ReportLast), range.Last);
        return Tell(command);
    }

    /// <summary>Marks pages that the queue pair tells of.</summary>
    public VfioResult<Mlx5Polled> PollQueue(uint queue, ulong pageSize, IDirtyPages dirty)
    {
        Span<byte> reply = stackalloc byte[Mlx5Reply.Bytes + (Mlx5TrackerReport.MaxEntries * Mlx5TrackerReport.EntryBytes)];
        var told = Tell(channel, Command(Mlx5Opcode.PollQp, number: queue), reply);
        if (!told.IsOk)
            return told.Error;
        var entries = (int)Math.Min(BinaryPrimitives.ReadUInt32BigEndian(reply[Mlx5TrackerReport.Entries..]), Mlx5TrackerReport.MaxEntries);
        for (var entry = 0; entry < entries; entry++)
            dirty.Mark(BinaryPrimitives.ReadUInt64BigEndian(reply[(Mlx5Reply.Bytes + (entry * Mlx5TrackerReport.EntryBytes))..]), pageSize);
        return new Mlx5Polled(entries, (Mlx5TrackerState)BinaryPrimitives.ReadUInt32BigEndian(reply[Mlx5TrackerReport.State..]));
    }

    /// <summary>What firmware said of a command; success where it was carried out.</summary>
    public static VfioResult StatusOf(ReadOnlySpan<byte> reply) => (Mlx5Status)reply[Mlx5Reply.Status] switch
    {
        Mlx5Status.Ok => VfioResult.Ok,
        Mlx5Status.BadOperation or Mlx5Status.BadParameter =>
            VfioResult.Fail(Errno.EINVAL, "The firmware refuses the command: it is damaged, or of another version or device."),
        Mlx5Status.BadResourceState =>
            VfioResult.Fail(Errno.EINVAL, "The firmware refuses the command: the device is not in a state for it; reset the device."),
        Mlx5Status.LimitExceeded => VfioResult.Fail(Errno.ENOMEM, "The firmware refuses the command: it asks for more than the device has."),
        _ => VfioResult.Fail(Errno.EIO, "The firmware failed; reset the device."),
    };

    private VfioResult<uint> Create(ReadOnlySpan<byte> command)
    {
        Span<byte> reply = stackalloc byte[Mlx5Reply.Bytes];
        var told = Tell(channel, command, reply);
        return told.IsOk ? BinaryPrimitives.ReadUInt32BigEndian(reply[Mlx5Reply.Number..]) : told.Error;
    }

    private VfioResult Tell(ReadOnlySpan<byte> command)
    {
        Span<byte> reply = stackalloc byte[Mlx5Reply.Bytes];
        return Tell(channel, command, reply);
    }

    private static VfioResult Tell(IPfChannel channel, ReadOnlySpan<byte> command, Span<byte> reply)
    {
        var told = channel.Execute(command, reply);
        return told.IsOk ? StatusOf(reply) : told.Error;
    }

    private static byte[] Command(
        Mlx5Opcode opcode, Mlx5Flags flags = Mlx5Flags.None, Mlx5Half half = default, uint number = 0, int behind = 0)
    {
        var command = new byte[Mlx5Command.Bytes + behind];
        BinaryPrimitives.WriteUInt16BigEndian(command.AsSpan(Mlx5Command.Opcode), (ushort)opcode);
        BinaryPrimitives.WriteUInt16BigEndian(command.AsSpan(Mlx5Command.Modifier), (ushort)half);
        BinaryPrimitives.WriteUInt16BigEndian(command.AsSpan(Mlx5Command.Flags), (ushort)flags);
        BinaryPrimitives.WriteUInt32BigEndian(command.AsSpan(Mlx5Command.Number), number);
        return command;
    }
}
