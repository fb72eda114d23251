using Akka.Actor;
using Fabric.Devices;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Benchmarks.Hosts;

/// <summary>Calls every device of a host once, by a request with a session that is none: what answers with ENODEV is there.</summary>
internal sealed class RollCall(IActorRef host, PciAddress[] addresses, TaskCompletionSource answered) : UntypedActor
{
    private const int Window = 1000;

    private int called;
    private int there;

    protected override void PreStart()
    {
        for (var i = 0; i < Window; i++)
            CallNext();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case DeviceFound found:
                found.Front.Tell(new GetDeviceInfo(default));
                break;
            case DeviceFailed { Error.Errno: Errno.ENODEV } when Sender.Path.Elements.Count > 2:
                CallNext();
                if (++there == addresses.Length)
                    answered.TrySetResult();
                break;
            default:
                answered.TrySetException(new InvalidOperationException($"{Sender.Path} answered with {message}."));
                break;
        }
    }

    private void CallNext()
    {
        if (called < addresses.Length)
            host.Tell(new FindDevice(addresses[called++]));
    }
}
