using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Devices.Drivers;

/// <summary>
/// A behaviour in front of a core, or of another driver. It sees every message of its device first: it takes over what it registers in its
/// constructor and forwards everything else untouched, so that the core answers the requester itself. What takes a request over replies to it,
/// forwards it, asks the core, or waits; it does one of these, once.
/// </summary>
public abstract partial class VariantDriver : UntypedActor, IWithUnboundedStash
{
    /// <summary>How long what stands behind a driver may take to answer it before the driver is given up and restarted.</summary>
    private readonly DriverContext context;

    private Dictionary<Type, Handler>? handlers;

    protected VariantDriver(DriverContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        this.context = context;
        if (context.Tap is { } tap)
            ObserveAll(tap);
    }

    private sealed record Handler(Func<DeviceRequest, bool> When, Action<DeviceRequest> Handle)
    {
        /// <summary>Asked where the condition does not hold.</summary>
        public Handler? Next { get; init; }
    }

    public IStash Stash { get; set; } = null!;

    protected PciAddress Address => context.Address;

    /// <summary>Who is waiting for an answer to the request in hand.</summary>
    protected IActorRef Requester => hand?.Requester.Requester ?? ActorRefs.Nobody;

    // ---- What a driver registers, in its constructor ---------------------------------------------------------------------------------

    /// <summary>Takes over a request. Of several that take over the same, the one that was registered last is asked first.</summary>
    protected void On<T>(Action<T> handle)
        where T : DeviceRequest => On(static _ => true, handle);

    /// <summary>Takes over those requests of a kind for which a condition holds.</summary>
    protected void On<T>(Func<T, bool> when, Action<T> handle)
        where T : DeviceRequest
    {
        handlers ??= [];
        handlers[typeof(T)] = new Handler(request => when((T)request), request => handle((T)request)) { Next = handlers.GetValueOrDefault(typeof(T)) };
    }

    /// <summary>Looks at a request before anything else is done with it, whoever takes it over then.</summary>
    protected void Observe<T>(Action<T> look)
        where T : DeviceRequest => ObserveAll(request =>
        {
            if (request is T own)
                look(own);
        });

    /// <summary>Looks at every request before anything else is done with it.</summary>
    protected void ObserveAll(Action<DeviceRequest> look) => Added.Observer += look;

    /// <summary>Forwards a changed request in place of the one that came.</summary>
    protected void Rewrite<T>(Func<T, DeviceRequest> change)
        where T : DeviceRequest => On<T>(request => Forward(change(request)));

    /// <summary>
    /// Changes what the core answers; a refusal goes through untouched. Several changes of one kind are made in the order in which they were
    /// registered.
    /// </summary>
    protected void RewriteReply<TRequest, TReply>(Func<TRequest, TReply, DeviceReply> change)
        where TRequest : DeviceRequest
        where TReply : DeviceReply
    {
        var replyChanges = Added.ReplyChanges;
        var before = replyChanges.GetValueOrDefault(typeof(TRequest));
        replyChanges[typeof(TRequest)] = (request, reply) =>
        {
            var so = before?.Invoke(request, reply) ?? reply;
            return so is TReply own ? change((TRequest)request, own) : so;
        };
        if (before is null)
            On<TRequest>(request => AskCore(request, reply => Reply(replyChanges[typeof(TRequest)](request, reply))));
    }

    /// <summary>The device does not have this operation, whatever the core could do.</summary>
    /// <param name="sentence">Says what to do instead.</param>
    protected void Hide<T>(string sentence, Errno errno = Errno.ENOTTY)
        where T : DeviceRequest => On<T>(_ => Reply(new DeviceFailed(errno, sentence)));

    // ---- What a driver does with a request it has taken over -------------------------------------------------------------------------

    /// <exception cref="InvalidOperationException">The request in hand has been answered or forwarded already.</exception>
    protected void Reply(DeviceReply reply)
    {
        ArgumentNullException.ThrowIfNull(reply);
        if (!TrySettle())
            return;
        hand!.Requester.Tell(reply);
        if (reply is DeviceFailed)
            CloseUntold(hand.Untold);
    }

    /// <inheritdoc cref="Reply(DeviceReply)"/>
    protected void Reply(VfioResult result) => Reply(result.IsOk ? DeviceDone.Instance : new DeviceFailed(result.Error));

    /// <summary>Replies with what a value makes, or with the error.</summary>
    protected void Reply<T>(VfioResult<T> result, Func<T, DeviceReply> reply)
    {
        ArgumentNullException.ThrowIfNull(reply);
        Reply(result.IsOk ? reply(result.Value) : new DeviceFailed(result.Error));
    }

    /// <summary>Gives the request in hand on, as it came; what stands behind answers the requester.</summary>
    /// <exception cref="InvalidOperationException">The request in hand has been answered or forwarded already.</exception>
    protected void Forward() => Forward(hand?.Request!);

    /// <summary>Gives another request on in place of the one in hand.</summary>
    /// <exception cref="InvalidOperationException">The request in hand has been answered or forwarded already.</exception>
    protected void Forward(DeviceRequest request)
    {
        if (TrySettle())
            Core.Tell(hand!.Requester.Call == 0 ? request : new CoreCall(hand.Requester.Call, request), hand.Requester.Requester);
    }

    /// <summary>
    /// Asks what stands behind, and goes on with its answer. Until then everything else waits its turn: a session keeps its order, and a reset
    /// that comes during a transition is applied right after it (MG-36).
    /// </summary>
    /// <exception cref="InvalidOperationException">The driver waits already: ask again in what goes on with its answer.</exception>
    protected void AskCore(DeviceRequest request, Action<DeviceReply> then)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request is CloseDevice close && hand is not null && close.Session == hand.Untold)
            hand.Untold = default;
        var number = Wait(request.GetType().Name, context.CoreDeadline, answer => then((DeviceReply)answer!), static number => new CoreDeadlinePassed(number));
        Core.Tell(new CoreCall(number, request));
    }

    /// <summary>Goes on after a time. Until then everything else waits its turn.</summary>
    /// <exception cref="InvalidOperationException">The driver waits already.</exception>
    protected void After(TimeSpan delay, Action then)
    {
        ArgumentNullException.ThrowIfNull(then);
        Wait("a delay of its own", delay, _ => then(), static number => new DelayPassed(number));
    }

    /// <summary>Tells the supervisor what happened, for the device's history.</summary>
    protected static void Record(DeviceFact fact) => Context.Parent.Tell(fact);

    // ---- What a driver is told -------------------------------------------------------------------------------------------------------

    /// <summary>The session ended, by its holder's will or death: what the driver keeps for it is of no use any more.</summary>
    protected virtual void OnSessionClosed(SessionId session)
    {
    }

    /// <summary>
    /// The function was reset, and the driver had not asked for it: by the host, by a write to config space, with its set. Whatever migration was
    /// under way is over (MG-34). An error says that nothing was reset.
    /// </summary>
    protected virtual void OnFunctionReset(VfioResult outcome)
    {
    }

    /// <summary>A message of the driver's own, such as one that it sent to itself from hardware's thread. It is handled in its turn.</summary>
    protected virtual void OnOwnMessage(DriverMessage message)
    {
    }

    /// <summary>The driver's own state, to be read; the kit adds what is its own.</summary>
    protected virtual ImmutableArray<InspectNode> InspectOwn() => [];
}

/// <summary>What a driver tells itself.</summary>
public abstract record DriverMessage : INoSerializationVerificationNeeded;
