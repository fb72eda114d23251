using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mlx5;

/// <summary>What the user of a VF programmed, beside its memory: kept together, because it moves together.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
internal struct Mlx5Registers
{
    public ulong RingIova;
    public ulong Done;
    public uint RingEntries;
    public uint Pending;
    public uint Fault;
    public uint Reserved;

    public const int Bytes = 32;
}

/// <summary>
/// What firmware knows of one VF (a virtual HCA), and the commands about it. It takes nothing on trust: what does not fit the state that the VF
/// is in is refused, whatever the driver believes. The VF's clock is held.
/// </summary>
internal sealed class Mlx5Vhca
{
    public const int BothHalves = (1 << (int)Mlx5Half.Initiator) | (1 << (int)Mlx5Half.Responder);

    /// <summary>Firmware asks for chunks of this size, and takes none that is larger than two of them.</summary>
    private const int ChunkBytes = 8 << 20;

    private const int MaxTrackerRanges = 8;

    /// <summary>4 KiB to 2 MiB.</summary>
    private const ulong TrackerPageSizes = 0x3ff000;

    public Mlx5Registers Registers;

    public Mlx5Vhca(int memoryBytes)
    {
        Memory = new byte[memoryBytes];
        Saving = new Mlx5SaveSession(this);
        Loading = new Mlx5LoadSession(this);
    }

    public byte[] Memory { get; }

    public Mlx5SaveSession Saving { get; }

    public Mlx5LoadSession Loading { get; }

    public Mlx5PageTracker Tracker { get; } = new();

    /// <summary>A bit of each half that is suspended.</summary>
    public int Suspended { get; private set; }

    /// <summary>It takes nothing, and changes nothing.</summary>
    public bool IsStanding => (Suspended & (1 << (int)Mlx5Half.Responder)) != 0;

    public ulong CellOf(ulong request) => BinaryPrimitives.ReadUInt64LittleEndian(Memory.AsSpan(AtCell(request)));

    public void AddToCell(ulong request, ulong value)
    {
        var at = AtCell(request);
        BinaryPrimitives.WriteUInt64LittleEndian(Memory.AsSpan(at), CellOf(request) + value);
        Saving.Mark(at, sizeof(ulong));
    }

    public void WriteMemory(int offset, ReadOnlySpan<byte> source)
    {
        source.CopyTo(Memory.AsSpan(offset));
        Saving.Mark(offset, source.Length);
    }

    /// <summary>The VF was reset.</summary>
    public void Reset()
    {
        Registers = default;
        Array.Clear(Memory);
        Suspended = 0;
        Saving.Drop();
        Loading.Drop();
    }

    /// <summary>Firmware has restarted: the VF runs, and nobody knows that it was to be moved.</summary>
    public void ForgetMigration()
    {
        Suspended = 0;
        Saving.Drop();
        Loading.Drop();
        Tracker.Drop();
    }

    /// <summary>Returns the reply's bytes.</summary>
    public VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        var head = reply[..Mlx5Reply.Bytes];
        head.Clear();
        var length = Mlx5Reply.Bytes;
        var status = command.Length < Mlx5Command.Bytes ? Mlx5Status.BadParameter : Execute(command, reply, ref length);
        head[Mlx5Reply.Status] = (byte)status;
        return status == Mlx5Status.Ok ? length : Mlx5Reply.Bytes;
    }

    private Mlx5Status Execute(ReadOnlySpan<byte> command, Span<byte> reply, ref int length)
    {
        var behind = command[Mlx5Command.Bytes..];
        var flags = (Mlx5Flags)BinaryPrimitives.ReadUInt16BigEndian(command[Mlx5Command.Flags..]);
        var number = BinaryPrimitives.ReadUInt32BigEndian(command[Mlx5Command.Number..]);
        switch ((Mlx5Opcode)BinaryPrimitives.ReadUInt16BigEndian(command[Mlx5Command.Opcode..]))
        {
            case Mlx5Opcode.QueryCapabilities:
                BinaryPrimitives.WriteUInt32BigEndian(reply[Mlx5Capabilities.MaxLoadBytes..], 2 * ChunkBytes);
                BinaryPrimitives.WriteUInt32BigEndian(reply[Mlx5Capabilities.MaxTrackerRanges..], MaxTrackerRanges);
                BinaryPrimitives.WriteUInt64BigEndian(reply[Mlx5Capabilities.TrackerPageSizes..], TrackerPageSizes);
                return Mlx5Status.Ok;
            case Mlx5Opcode.SuspendVhca:
                return Suspend((Mlx5Half)BinaryPrimitives.ReadUInt16BigEndian(command[Mlx5Command.Modifier..]));
            case Mlx5Opcode.ResumeVhca:
                return Resume((Mlx5Half)BinaryPrimitives.ReadUInt16BigEndian(command[Mlx5Command.Modifier..]));
            case Mlx5Opcode.QueryVhcaMigrationState:
                var total = Saving.SizeOf(flags);
                BinaryPrimitives.WriteUInt32BigEndian(reply[Mlx5StateSize.IsMigrating..], Suspended != 0 || Saving.IsTracking ? 1u : 0);
                BinaryPrimitives.WriteUInt32BigEndian(reply[Mlx5StateSize.Required..], (uint)Math.Min(total, ChunkBytes));
                BinaryPrimitives.WriteUInt64BigEndian(reply[Mlx5StateSize.RemainingTotal..], (ulong)total);
                return Mlx5Status.Ok;
            case Mlx5Opcode.SaveVhcaState:
                var room = Math.Min(BinaryPrimitives.ReadUInt32BigEndian(command[Mlx5Command.Size..]), (uint)(reply.Length - Mlx5Reply.Bytes));
                return Saving.Save(flags, reply, (int)room, ref length);
            case Mlx5Opcode.LoadVhcaState when BinaryPrimitives.ReadUInt32BigEndian(command[Mlx5Command.Size..]) == behind.Length:
                return Loading.Load(behind, isFirst: (flags & Mlx5Flags.First) != 0, reply);
            case Mlx5Opcode.CreateQp:
                BinaryPrimitives.WriteUInt32BigEndian(reply[Mlx5Reply.Number..], Tracker.CreateQueue());
                return Mlx5Status.Ok;
            case Mlx5Opcode.DestroyQp:
                return Tracker.DestroyQueue(number);
            case Mlx5Opcode.CreateTracker:
                return Tracker.Create(number, command, TrackerPageSizes, MaxTrackerRanges, reply);
            case Mlx5Opcode.ReportTracker:
                return Tracker.Report(number, command);
            case Mlx5Opcode.DestroyTracker:
                return Tracker.Destroy(number);
            case Mlx5Opcode.PollQp:
                return Tracker.Poll(number, reply, ref length);
            case Mlx5Opcode.LoadVhcaState:
                return Mlx5Status.BadParameter;
            default:
                return Mlx5Status.BadOperation;
        }
    }

    /// <summary>The initiator first, then the responder.</summary>
    private Mlx5Status Suspend(Mlx5Half half)
    {
        if (Suspended != (half == Mlx5Half.Initiator ? 0 : 1 << (int)Mlx5Half.Initiator))
            return Mlx5Status.BadResourceState;
        Suspended |= 1 << (int)half;
        return Mlx5Status.Ok;
    }

    /// <summary>The other way round.</summary>
    private Mlx5Status Resume(Mlx5Half half)
    {
        if (Suspended != (half == Mlx5Half.Responder ? BothHalves : 1 << (int)Mlx5Half.Initiator))
            return Mlx5Status.BadResourceState;
        Suspended &= ~(1 << (int)half);
        return Mlx5Status.Ok;
    }

    private int AtCell(ulong request) => (int)(request % (ulong)(Memory.Length / sizeof(ulong))) * sizeof(ulong);
}
