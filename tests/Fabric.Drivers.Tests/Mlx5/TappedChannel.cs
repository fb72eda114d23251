using Fabric.Vfio;

namespace Fabric.Drivers.Tests.Mlx5;

/// <summary>The way to a PF's driver, where a test sees every command, and may do things before and after it.</summary>
internal sealed class TappedChannel(IPfChannel channel) : IPfChannel
{
    /// <summary>Every command, in order.</summary>
    public List<byte[]> Commands { get; } = [];

    /// <summary>Bytes of room for the reply of each command that goes on by itself.</summary>
    public List<int> Rooms { get; } = [];

    /// <summary>An error takes the place of the command.</summary>
    public Func<VfioResult> Before { get; set; } = () => VfioResult.Ok;

    public Action After { get; set; } = () => { };

    public string Protocol { get; init; } = channel.Protocol;

    public VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        Commands.Add(command.ToArray());
        var before = Before();
        if (!before.IsOk)
            return before.Error;
        var executed = channel.Execute(command, reply);
        After();
        return executed;
    }

    public VfioResult Submit(ReadOnlyMemory<byte> command, Memory<byte> reply, Action<VfioResult<int>> completed)
    {
        Commands.Add(command.ToArray());
        Rooms.Add(reply.Length);
        var before = Before();
        if (!before.IsOk)
            return before;
        var submitted = channel.Submit(command, reply, completed);
        After();
        return submitted;
    }

    public void ReportTo(Action<PfEvent>? sink) => channel.ReportTo(sink);
}
