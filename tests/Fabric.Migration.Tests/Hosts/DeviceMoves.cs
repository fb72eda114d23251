using System.Collections.Concurrent;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Accelerator;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>A device was told to move to a state, and whether it did.</summary>
internal sealed record DeviceMove(string Device, MigrationState Target, bool Done);

/// <summary>
/// What the devices of a host were told, in the order that they did it: written down by a driver that stands before the accelerator's, and fails
/// where a test says so.
/// </summary>
internal sealed class DeviceMoves
{
    private readonly ConcurrentQueue<DeviceMove> moves = [];

    /// <summary>The device that does not get there, the next so many times.</summary>
    public (string Device, MigrationState Target, int Times)? Fails { get; set; }

    /// <summary>What a stream says of itself in PRE_COPY.</summary>
    public Func<PrecopyInfo, PrecopyInfo> Says { get; set; } = static info => info;

    public DeviceMove[] All => [.. moves];

    public DriverRegistration Driver => AcceleratorDriver.Registration with
    {
        Create = context => Props.Create(() => new RecordingDriver(context, this)),
        Behind = AcceleratorDriver.Registration,
    };

    /// <summary>
    /// The first move that breaks the order of two barriers (MG-52, MG-53 g), or null: no device stops that others may still reach or be reached
    /// by at full speed, and none runs at full speed before all accept their peers.
    /// </summary>
    /// <param name="from">The state that all of them come from.</param>
    public static string? Violation(IEnumerable<DeviceMove> moves, MigrationState from, params string[] devices)
    {
        var states = devices.ToDictionary(static device => device, _ => from);
        foreach (var (device, target, _) in moves.Where(static move => move.Done))
        {
            states[device] = target;
            foreach (var (other, state) in states)
            {
                if ((Stands(target) && Runs(state)) || (Runs(target) && Stands(state)))
                    return $"{device} went to {target} while {other} was in {state}";
            }
        }

        return null;
    }

    private static bool Runs(MigrationState state) => state is MigrationState.Running or MigrationState.PreCopy;

    private static bool Stands(MigrationState state) => state is MigrationState.Stop or MigrationState.StopCopy or MigrationState.Resuming;

    private bool MustFail(string device, MigrationState target)
    {
        if (Fails is not { Times: > 0 } fails || (fails.Device, fails.Target) != (device, target))
            return false;
        Fails = fails with { Times = fails.Times - 1 };
        return true;
    }

    private sealed class TalkingStream(IMigrationStream stream, DeviceMoves moves) : IMigrationStream
    {
        public VfioResult<int> Read(Span<byte> destination) => stream.Read(destination);

        public VfioResult Write(ReadOnlySpan<byte> source) => stream.Write(source);

        public VfioResult<PrecopyInfo> GetPrecopyInfo()
        {
            var info = stream.GetPrecopyInfo();
            return info.IsOk ? moves.Says(info.Value) : info;
        }

        public VfioResult<PrecopyInfo> Ioctl(uint request, uint argsz) => stream.Ioctl(request, argsz);

        public void Close() => stream.Close();
    }

    private sealed class RecordingDriver : VariantDriver
    {
        public RecordingDriver(DriverContext context, DeviceMoves moves)
            : base(context)
        {
            RewriteReply<SetMigrationState, MigrationStateSet>((set, reply) =>
            {
                moves.moves.Enqueue(new DeviceMove(Address.ToString(), set.Target, Done: true));
                return reply with { Stream = reply.Stream is { } stream ? new TalkingStream(stream, moves) : null };
            });
            On<SetMigrationState>(
                set => moves.MustFail(Address.ToString(), set.Target),
                set =>
                {
                    moves.moves.Enqueue(new DeviceMove(Address.ToString(), set.Target, Done: false));
                    Reply(VfioResult.Fail(Errno.EIO, "it was told to fail"));
                });
        }
    }
}
