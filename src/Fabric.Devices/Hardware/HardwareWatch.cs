using Akka.Actor;
using Fabric.Vfio;

namespace Fabric.Devices.Hardware;

/// <summary>
/// The calls to hardware that mailboxes of this host make on their own threads. One that has not come back in time is given up: its asker is
/// answered, its supervisor told. The thread that it holds is made up for, so that no other mailbox has to wait for it.
/// </summary>
internal sealed class HardwareWatch(TimeSpan deadline)
{
    private readonly Dictionary<CallWatch, IActorRef> watched = [];
    private readonly List<CallWatch> stuck = [];

    public void On(object message)
    {
        switch (message)
        {
            case WatchCalls add:
                watched[add.Watch] = add.Supervisor;
                break;
            case UnwatchCalls remove:
                watched.Remove(remove.Watch);
                break;
            case CallCameBack back:
                back.Supervisor.Tell(new HangEnded(back.Call, TimeSpan.Zero));
                break;
            default:
                Check();
                break;
        }
    }

    private void Check()
    {
        AddThreads(-stuck.RemoveAll(static watch => !watch.IsFenced));
        foreach (var (watch, supervisor) in watched)
        {
            if (watch.FenceIfOlder(deadline) is not { } call)
                continue;
            AddThreads(1);
            stuck.Add(watch);
            var name = call.Request as string ?? call.Request.GetType().Name;
            call.Asker.Tell(new DeviceFailed(Errno.EIO, $"The device hangs in {name}; it is out of service until it is put back."));
            supervisor.Tell(new HardwareHung(name, call.Age));
        }
    }

    private static void AddThreads(int count)
    {
        if (count == 0)
            return;
        ThreadPool.GetMinThreads(out var workers, out var ports);
        ThreadPool.SetMinThreads(workers + count, ports);
    }
}
