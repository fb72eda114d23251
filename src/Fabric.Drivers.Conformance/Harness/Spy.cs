using System.Collections.Concurrent;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Pci.Recovery;

namespace Fabric.Drivers.Conformance.Harness;

/// <summary>What came through a driver to the core.</summary>
/// <param name="By">Who is answered: who asked the driver, or the driver itself.</param>
internal sealed record Passed(DeviceRequest Request, IActorRef By);

/// <summary>What a check sees and does behind the driver that it tries.</summary>
internal sealed class Behind
{
    public ConcurrentQueue<Passed> Seen { get; } = new();

    /// <summary>Refuses a request in place of the core; null for none.</summary>
    public volatile Func<DeviceRequest, DeviceFailed?>? Refuse;
}

/// <summary>Stands between the driver and the core.</summary>
internal sealed class Spy : VariantDriver
{
    private readonly Behind behind;

    public Spy(DriverContext context, Behind behind)
        : base(context)
    {
        this.behind = behind;
        foreach (var kind in Protocol.Kinds)
            kind.TakeOver(this);
    }

    public void Take<T>()
        where T : DeviceRequest => On<T>(Look);

    private void Look(DeviceRequest request)
    {
        behind.Seen.Enqueue(new Passed(request, Requester));
        if (behind.Refuse?.Invoke(request) is not { } refused)
            Forward();
        else if (request is RecoveryCallback)
            Reply(new RecoveryVoted(RecoveryVote.None));
        else
            Reply(refused);
    }
}
