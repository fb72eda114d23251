using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Migration.Wire;
using Fabric.Node.Configuration;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.VfioUser.Server;

namespace Fabric.Node.Serving;

/// <summary>Ends all serving. Answered with <see cref="AllServingEnded"/> when no socket is left.</summary>
internal sealed record EndAllServing : INoSerializationVerificationNeeded
{
    public static EndAllServing Instance { get; } = new();
}

internal sealed record AllServingEnded : INoSerializationVerificationNeeded
{
    public static AllServingEnded Instance { get; } = new();
}

/// <summary>
/// <c>/user/serving</c>, in the host's own actor system: the sockets on which it serves its devices to VMMs. A socket is there while its device is in
/// service, and comes back with it: what a client speaks to is the driver chain that the device has, never one that it had.
/// </summary>
internal sealed class ServingActor : UntypedActor, IWithTimers
{
    private static readonly TimeSpan FindDeadline = TimeSpan.FromSeconds(60);

    /// <summary>After which a socket is tried again that could not be made, or whose device was not in service.</summary>
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(5);

    private readonly IActorRef devices;
    private readonly IActorRef attachments;
    private readonly SortedDictionary<PciAddress, ServedSocket> sockets = [];
    private IActorRef? closer;

    public ServingActor(IActorRef devices, IActorRef attachments, IReadOnlyList<SocketSettings> configured)
    {
        (this.devices, this.attachments) = (devices, attachments);
        foreach (var socket in configured)
        {
            var address = PciAddress.Parse(socket.Address);
            sockets.Add(address, new ServedSocket(address, Path.GetFullPath(socket.Socket), isConfigured: true));
        }
    }

    public ITimerScheduler Timers { get; set; } = null!;

    /// <param name="devices">The host actor.</param>
    /// <param name="attachments">Told which devices no claim is to be offered: <see cref="ServedDevices"/>.</param>
    public static Props Props(IActorRef devices, IActorRef attachments, IReadOnlyList<SocketSettings> configured) =>
        Akka.Actor.Props.Create(() => new ServingActor(devices, attachments, configured));

    private sealed record Found(PciAddress Address, object Reply);

    private sealed record Changed(PciAddress Address, VfioUserServer? Server, IActorRef? Front, VfioError Why);

    private sealed record Planned(ServeFunction Operation, IActorRef Requester, object Reply);

    private sealed record Retry
    {
        public static Retry Instance { get; } = new();
    }

    protected override void PreStart()
    {
        Context.System.EventStream.Subscribe(Self, typeof(DeviceStatusChanged));
        Context.System.EventStream.Subscribe(Self, typeof(DeviceGone));
        Timers.StartPeriodicTimer("retry", Retry.Instance, RetryInterval);
        TellServed();
        foreach (var socket in sockets.Values)
            Look(socket);
    }

    /// <summary>Should it fail, and not have been told to end: the one after it makes the sockets anew.</summary>
    protected override void PostStop()
    {
        Context.System.EventStream.Unsubscribe(Self);
        foreach (var server in sockets.Values.Select(static socket => socket.Server).OfType<VfioUserServer>())
            _ = server.DisposeAsync().AsTask();
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case ServeFunction serve:
                Serve(serve);
                break;
            case EndServing end:
                End(end);
                break;
            case ReadServed:
                Sender.Tell(new ServedRead([.. sockets.Values.Select(static socket => socket.Entry)]));
                break;
            case EndAllServing:
                closer = Sender;
                foreach (var socket in sockets.Values.ToArray())
                    EndSoon(socket);
                AnswerCloser();
                break;
            case DeviceStatusChanged { Status: { State: DeviceState.Closed or DeviceState.Quarantined } status }:
                LookAt(status.Address);
                break;
            case DeviceStatusChanged:
                break;
            case DeviceGone gone:
                LookAt(gone.Address);
                break;
            case Retry:
                foreach (var socket in sockets.Values.Where(static socket => socket.Server is null))
                    Look(socket);
                break;
            case Found found when sockets.TryGetValue(found.Address, out var socket):
                OnFound(socket, found.Reply);
                break;
            case Changed changed when sockets.TryGetValue(changed.Address, out var socket):
                OnChanged(socket, changed);
                break;
            case Planned planned:
                Answer(planned);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    // ---- What is asked ---------------------------------------------------------------------------------------------------------------

    private void Serve(ServeFunction serve)
    {
        if (!PciAddress.TryParse(serve.Device, out var address))
            Refuse(Sender, serve, Errno.EINVAL, PciAddress.Malformed(serve.Device));
        else if (!VfioUserServer.IsPath(serve.Socket))
            Refuse(Sender, serve, Errno.EINVAL, "The socket's path must be absolute, and have at most 107 bytes; choose another.");
        else if (closer is not null)
            Refuse(Sender, serve, Errno.EBUSY, "This daemon is ending; serve the device when it is up again.");
        else if (sockets.TryGetValue(address, out var there) && (there.IsEnding || there.Path != serve.Socket))
            Refuse(Sender, serve, Errno.EBUSY, $"{address} is served on {there.Path}; end that first.");
        else if (serve.PlanOnly)
            FindFor(serve, address, Sender);
        else if (there is { Server: not null })
            Sender.Tell(new ServingChanged(there.Entry));
        else
            Begin(there ?? new ServedSocket(address, serve.Socket, isConfigured: false), serve);
    }

    private void Begin(ServedSocket socket, ServeFunction serve)
    {
        if (sockets.TryAdd(socket.Address, socket))
            TellServed();
        Context.GetLogger().Info("{0} is to be served on {1}, asked for by {2}", socket.Address, socket.Path, serve.By);
        socket.Requesters.Add((serve, Sender));
        Look(socket);
    }

    private void FindFor(ServeFunction plan, PciAddress address, IActorRef requester) =>
        Find(address, reply => new Planned(plan, requester, reply));

    private static void Answer(Planned plan)
    {
        IWireMessage answer = plan.Reply is DeviceFailed failed
            ? new OperationRefused(plan.Operation.Device, failed.Error.Errno.ToString(), failed.Error.Sentence)
            : new OperationPlanned(plan.Operation.Device, $"{plan.Operation.Device} would be served on {plan.Operation.Socket}", []);
        plan.Requester.Tell(answer);
    }

    private void End(EndServing end)
    {
        if (!PciAddress.TryParse(end.Device, out var address) || !sockets.TryGetValue(address, out var socket))
        {
            Refuse(Sender, end, Errno.ENOENT, $"{end.Device} is not served by this host; list its sockets.");
            return;
        }

        if (end.PlanOnly)
        {
            string[] clients = socket.Entry.Clients > 0 ? [$"{address}, which a client of {socket.Path} has"] : [];
            Sender.Tell(new OperationPlanned(end.Device, $"{address} would be served on {socket.Path} no more", clients));
            return;
        }

        Context.GetLogger().Info("{0} is served on {1} no more, asked for by {2}", address, socket.Path, end.By);
        socket.Enders.Add((Sender, socket.Entry));
        EndSoon(socket);
    }

    private static void Refuse(IActorRef requester, IServingOperation operation, Errno errno, string sentence) =>
        requester.Tell(new OperationRefused(operation.Subject, errno.ToString(), sentence));

    // ---- Devices come and go ---------------------------------------------------------------------------------------------------------

    private void LookAt(PciAddress address)
    {
        if (sockets.TryGetValue(address, out var socket))
            Look(socket);
    }

    /// <summary>Whether the device is in service, and with which chain. One thing at a time; what is missed meanwhile is looked at after it.</summary>
    private void Look(ServedSocket socket)
    {
        if (socket.IsBusy)
        {
            socket.LooksAgain = true;
            return;
        }

        socket.IsBusy = true;
        Find(socket.Address, reply => new Found(socket.Address, reply));
    }

    private void Find(PciAddress address, Func<object, object> then) => devices.Ask<object>(new FindDevice(address), FindDeadline).PipeTo(
        Self, success: then, failure: _ => then(new DeviceFailed(Errno.ETIMEDOUT, $"{address} was not found in time; look what it hangs in.")));

    private void OnFound(ServedSocket socket, object reply)
    {
        if (socket.IsEnding)
            Change(socket, null, default);
        else if (reply is DeviceFailed failed)
            Change(socket, null, failed.Error);
        else if (reply is DeviceFound found && !(socket.Server is not null && found.Front.Equals(socket.Front)))
            Change(socket, found.Front, default);
        else
            Idle(socket);
    }

    /// <summary>The socket that is there goes, and where there is a chain to speak to, another one comes.</summary>
    private void Change(ServedSocket socket, IActorRef? front, VfioError why)
    {
        var (system, address, path, before) = (Context.System, socket.Address, socket.Path, socket.Server);
        socket.Server = null;
        ChangeAsync().PipeTo(Self, failure: cause => new Changed(address, null, null, new VfioError(Errno.EIO, cause.Message)));

        async Task<Changed> ChangeAsync()
        {
            if (before is not null)
                await before.DisposeAsync();
            if (front is null)
                return new Changed(address, null, null, why);
            var started = await VfioUserServer.StartAsync(system, front, path);
            return started.IsOk ? new Changed(address, started.Value, front, default) : new Changed(address, null, null, started.Error);
        }
    }

    private void OnChanged(ServedSocket socket, Changed changed)
    {
        if (changed.Why.Errno != Errno.None && changed.Why != socket.Why)
            Context.GetLogger().Warning("{0} is not served on {1} now: {2}", socket.Address, socket.Path, changed.Why.Sentence);
        (socket.Server, socket.Front, socket.Why) = (changed.Server, changed.Front, changed.Why);
        Idle(socket);
    }

    private void Idle(ServedSocket socket)
    {
        socket.IsBusy = false;
        if (socket is { IsEnding: true, Server: null })
        {
            Remove(socket);
            return;
        }

        // Asked for, it is there now or it is not: nobody waits for what is not.
        foreach (var (operation, requester) in socket.Requesters)
            requester.Tell(socket.Server is null ? Refusal(operation, socket.Why) : new ServingChanged(socket.Entry));
        if (socket is { Server: null, Requesters.Count: > 0, WasServed: false, IsConfigured: false })
        {
            Drop(socket);
            return;
        }

        socket.Requesters.Clear();
        socket.WasServed |= socket.Server is not null;
        if (socket.IsEnding || socket.LooksAgain)
        {
            socket.LooksAgain = false;
            Look(socket);
        }
    }

    private static OperationRefused Refusal(ServeFunction operation, VfioError why) =>
        new(operation.Device, why.Errno.ToString(), why.Sentence);

    private void EndSoon(ServedSocket socket)
    {
        socket.IsEnding = true;
        if (socket.IsBusy)
            return;
        socket.IsBusy = true;
        Change(socket, null, default);
    }

    private void Remove(ServedSocket socket)
    {
        Drop(socket);
        foreach (var (operation, requester) in socket.Requesters)
            Refuse(requester, operation, Errno.EBUSY, $"{socket.Address} was to be served no more, meanwhile.");
        foreach (var (requester, entry) in socket.Enders)
            requester.Tell(new ServingChanged(entry));
        AnswerCloser();
    }

    private void Drop(ServedSocket socket)
    {
        sockets.Remove(socket.Address);
        TellServed();
    }

    private void TellServed() =>
        attachments.Tell(new ServedDevices(sockets.ToImmutableDictionary(static entry => entry.Key, static entry => entry.Value.Path)));

    private void AnswerCloser()
    {
        if (sockets.Count == 0)
            closer?.Tell(AllServingEnded.Instance);
    }

    /// <summary>A device and the socket that it is to have.</summary>
    private sealed class ServedSocket(PciAddress address, string path, bool isConfigured)
    {
        public PciAddress Address => address;

        public string Path => path;

        public bool IsConfigured => isConfigured;

        /// <summary>Null while there is no socket.</summary>
        public VfioUserServer? Server { get; set; }

        /// <summary>The chain that its client speaks to.</summary>
        public IActorRef? Front { get; set; }

        /// <summary>Why there is none.</summary>
        public VfioError Why { get; set; }

        /// <summary>The device is being looked for, or the socket is being made or taken away.</summary>
        public bool IsBusy { get; set; }

        public bool LooksAgain { get; set; }

        public bool IsEnding { get; set; }

        /// <summary>There was a socket once: it comes back with its device.</summary>
        public bool WasServed { get; set; }

        public List<(ServeFunction Operation, IActorRef Requester)> Requesters { get; } = [];

        public List<(IActorRef Requester, ServedEntry Entry)> Enders { get; } = [];

        public ServedEntry Entry => new(
            address.ToString(), path, isConfigured, Server?.Connections ?? 0, Server is null ? Why.Sentence ?? "it is being made" : null);
    }
}
