using System.Collections.Immutable;
using System.Globalization;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices.History;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Mdev;

/// <summary>What a host has of mediated devices.</summary>
/// <param name="Bus">Part of the host's bus.</param>
/// <param name="Store">Keeps what is defined.</param>
public sealed record MdevOptions(MdevBus Bus, IMdevStore Store);

/// <summary>
/// The lifecycle of a host's mediated devices, and no more: what is defined, and whether it is there. A device that is made appears on the host's
/// bus and is from then on the host's as any other is; one that is stopped leaves as any other does. Disks and parents are called on threads of
/// their own.
/// </summary>
internal sealed class MdevActor : UntypedActor, IWithUnboundedStash
{
    private const string AtStart = "at the start of the host";

    private readonly MdevOptions options;
    private readonly HostContext host;
    private readonly Dictionary<Guid, Mdev> mdevs = [];

    /// <summary>What the host has told of the devices of the bus.</summary>
    private readonly Dictionary<PciAddress, DeviceStatus> statuses = [];

    private readonly CancellationTokenSource life = new();
    private ImmutableArray<UnusableDefinition> unusable = [];

    public MdevActor(MdevOptions options, HostContext host) => (this.options, this.host) = (options, host);

    /// <summary>One definition, and what is under way with it.</summary>
    private sealed class Mdev(MdevDefinition definition)
    {
        public MdevDefinition Definition => definition;

        public MdevState State { get; set; } = MdevState.Stopped;

        public DateTimeOffset Since { get; set; }

        public PciAddress? Address { get; set; }

        public string? Reason { get; set; }

        /// <summary>Who is answered when what is under way is over.</summary>
        public List<IActorRef> Requesters { get; } = [];
    }

    private sealed record Loaded(VfioResult<StoredDefinitions> Found);

    private sealed record Written(Guid Uuid, VfioResult Outcome);

    private sealed record Made(Guid Uuid, string How, VfioResult<MdevInstance> Outcome);

    private sealed record RemovalEnded(Guid Uuid, object Answer);

    public IStash Stash { get; set; } = null!;

    public static Props Props(MdevOptions options, HostContext host) => Akka.Actor.Props.Create(() => new MdevActor(options, host));

    /// <summary>What a host answers that has no parents.</summary>
    public static object AnswerWithoutParents(MdevRequest request) => request switch
    {
        ListMdevTypes => new MdevTypesListed([]),
        ListMdevs => new MdevsListed([], []),
        _ => new DeviceFailed(Errno.ENODEV, "This host has no mdev parents; emulated ones are named in its setting hardware.emulated.mdevParents."),
    };

    protected override void PreStart()
    {
        var (self, store) = (Self, options.Store);
        host.Threads.Run(() => self.Tell(new Loaded(Guarded(() => VfioResult.Of(store.Load()), "The definitions could not be read"))));
        // Of devices that are there already, after an earlier life of this actor.
        Context.Parent.Tell(ListDevices.Instance);
        Become(Loading);
    }

    /// <summary>Whoever waits for something that this one does not live to see is told so.</summary>
    protected override void PostStop()
    {
        life.Cancel();
        life.Dispose();
        foreach (var mdev in mdevs.Values)
            Answer(mdev, new DeviceFailed(Errno.EIO, $"mdev {mdev.Definition.Uuid}: what was under way was broken off; look at it with 'fabric mdev list'."));
    }

    private void Loading(object message)
    {
        switch (message)
        {
            case Loaded loaded:
                Become(OnReceive);
                OnLoaded(loaded.Found);
                Stash.UnstashAll();
                break;
            default:
                Stash.Stash();
                break;
        }
    }

    protected override void OnReceive(object message)
    {
        switch (message)
        {
            case MdevRequest request:
                Obey(request);
                break;
            case Written written when mdevs.TryGetValue(written.Uuid, out var mdev) && mdev.State is MdevState.Defining or MdevState.Undefining:
                OnWritten(mdev, written.Outcome);
                break;
            case Made made when mdevs.TryGetValue(made.Uuid, out var mdev):
                OnMade(mdev, made);
                break;
            case RemovalEnded ended when mdevs.TryGetValue(ended.Uuid, out var mdev):
                OnRemovalEnded(mdev, ended.Answer);
                break;
            case DeviceStatusChanged changed:
                OnStatus(changed.Status);
                break;
            case DeviceList listed:
                foreach (var status in listed.Devices.Where(static device => device.Address.Domain == MdevBus.Domain))
                    OnStatus(status);
                break;
            case DeviceGone gone:
                OnGone(gone);
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Obey(MdevRequest request)
    {
        switch (request)
        {
            case ListMdevTypes:
                Sender.Tell(new MdevTypesListed(
                    [.. from parent in options.Bus.Parents from type in parent.Types select new MdevTypeOfParent(parent.Name, type)]));
                break;
            case ListMdevs:
                Sender.Tell(new MdevsListed(
                    [.. mdevs.Values.Select(Describe).OrderBy(static mdev => $"{mdev.Definition.Parent}/{mdev.Definition.Uuid}", StringComparer.Ordinal)],
                    unusable));
                break;
            case DefineMdev define:
                Define(define);
                break;
            case StartMdev start:
                Change(start.Uuid, mdev => Start(mdev, start));
                break;
            case StopMdev stop:
                Change(stop.Uuid, mdev => Stop(mdev, stop));
                break;
            case UndefineMdev undefine:
                Change(undefine.Uuid, mdev => Undefine(mdev, undefine));
                break;
            default:
                Unhandled(request);
                break;
        }
    }

    private void Change(Guid uuid, Func<Mdev, VfioError?> change)
    {
        if ((mdevs.TryGetValue(uuid, out var mdev) ? change(mdev) : Unknown(uuid)) is { } refused)
            Sender.Tell(new DeviceFailed(refused));
    }

    private VfioError Unknown(Guid uuid) => unusable.FirstOrDefault(file => file.Uuid == uuid) is { } file
        ? new VfioError(
            Errno.EINVAL, $"The definition of mdev {uuid} cannot be used: {file.File}: {file.Why}. Mend it or move it away, and restart the host.")
        : new VfioError(Errno.ENODEV, $"This host defines no mdev {uuid}; list them with 'fabric mdev list'.");

    // ---- What is defined -------------------------------------------------------------------------------------------------------------

    private void OnLoaded(VfioResult<StoredDefinitions> found)
    {
        if (!found.IsOk)
            unusable = [new UnusableDefinition("the definitions", found.Error.Sentence, null)];
        foreach (var definition in found.IsOk ? found.Value.Definitions : [])
            Adopt(definition);
        if (found.IsOk)
            unusable = [.. found.Value.Unusable, .. unusable];
        foreach (var (file, why, _) in unusable)
            Context.GetLogger().Warning("A definition of a mediated device is left alone: {0}: {1}", file, why);
        foreach (var instance in options.Bus.Instances)
            AdoptRunning(instance);
        foreach (var ofParent in mdevs.Values.Where(static mdev => mdev is { Definition.AutoStart: true, State: MdevState.Stopped })
            .GroupBy(static mdev => mdev.Definition.Parent))
        {
            // In one order, so that at each start the same ones find room.
            foreach (var mdev in ofParent)
                Enter(mdev, MdevState.Starting);
            Make([.. ofParent.Select(static mdev => mdev.Definition)], AtStart);
        }
    }

    private void Adopt(MdevDefinition definition)
    {
        var why = WrongIn(definition) is { } wrong ? wrong.Sentence.TrimEnd('.')
            : mdevs.TryGetValue(definition.Uuid, out var other) ? $"its UUID is defined under {other.Definition.Parent} already"
            : null;
        if (why is null)
            mdevs.Add(definition.Uuid, new Mdev(definition));
        else
            unusable = unusable.Add(new UnusableDefinition($"{definition.Parent}/{definition.Uuid}", why, definition.Uuid));
    }

    /// <summary>This actor has been started anew, and the devices have stayed.</summary>
    private void AdoptRunning(MdevInstance instance)
    {
        if (!mdevs.TryGetValue(instance.Uuid, out var mdev))
            mdevs[instance.Uuid] = mdev = new Mdev(new MdevDefinition(instance.Uuid, instance.Parent, instance.Type, AutoStart: false));
        Enter(mdev, MdevState.Started);
        mdev.Address = instance.Function.Address;
    }

    private VfioError? WrongIn(MdevDefinition definition)
    {
        if (options.Bus.FindParent(definition.Parent) is not { } parent)
        {
            var known = string.Join(", ", options.Bus.Parents.Select(static parent => parent.Name));
            return new VfioError(Errno.ENODEV, $"This host has no mdev parent '{definition.Parent}'; it has {known}.");
        }

        var types = parent.Types.Select(static type => type.Id).ToArray();
        return types.Contains(definition.Type)
            ? null
            : new VfioError(Errno.EINVAL, $"{parent.Name} has no type '{definition.Type}'; it has {string.Join(", ", types)}.");
    }

    private void Define(DefineMdev define)
    {
        var definition = new MdevDefinition(define.Uuid, define.Parent, define.Type, define.AutoStart);
        var refused = mdevs.TryGetValue(define.Uuid, out var there)
            ? new VfioError(Errno.EEXIST, $"mdev {define.Uuid} is defined already, as {there.Definition.Type} of {there.Definition.Parent}.")
            : unusable.Any(file => file.Uuid == define.Uuid)
                ? Unknown(define.Uuid) with { Errno = Errno.EEXIST }
                : WrongIn(definition);
        if (refused is { } error)
        {
            Sender.Tell(new DeviceFailed(error));
            return;
        }

        var starts = define.AutoStart ? "with the host" : "when it is asked for";
        if (define.IsPlanned(Sender, $"mdev {define.Uuid} would be defined: {define.Type} of {define.Parent}, started {starts}"))
            return;
        var mdev = mdevs[define.Uuid] = new Mdev(definition);
        Enter(mdev, MdevState.Defining);
        Context.GetLogger().Info("mdev {0} is defined by {1}: {2} of {3}", define.Uuid, define.By, define.Type, define.Parent);
        Write(definition, options.Store.Save);
    }

    private VfioError? Undefine(Mdev mdev, UndefineMdev command)
    {
        var uuid = mdev.Definition.Uuid;
        switch (mdev.State)
        {
            case MdevState.Started or MdevState.Stopping:
                return new VfioError(Errno.EBUSY, $"mdev {uuid} is {Word(mdev.State)}, at {mdev.Address}; stop it first.");
            case MdevState.Stopped when command.IsPlanned(Sender, $"the definition of mdev {uuid} would be forgotten"):
                return null;
            case MdevState.Stopped:
                Enter(mdev, MdevState.Undefining);
                Context.GetLogger().Info("mdev {0} is undefined by {1}", uuid, command.By);
                Write(mdev.Definition, options.Store.Delete);
                return null;
            default:
                return Busy(mdev);
        }
    }

    private void Write(MdevDefinition definition, Func<MdevDefinition, VfioResult> write)
    {
        var self = Self;
        mdevs[definition.Uuid].Requesters.Add(Sender);
        host.Threads.Run(() => self.Tell(new Written(definition.Uuid, Guarded(() => write(definition)))));
    }

    private void OnWritten(Mdev mdev, VfioResult outcome)
    {
        var stays = mdev.State == MdevState.Defining ? outcome.IsOk : !outcome.IsOk;
        Enter(mdev, MdevState.Stopped);
        if (!stays)
            mdevs.Remove(mdev.Definition.Uuid);
        Answer(mdev, outcome.IsOk ? new MdevChanged(Describe(mdev)) : new DeviceFailed(outcome.Error));
    }

    // ---- Devices come ----------------------------------------------------------------------------------------------------------------

    private VfioError? Start(Mdev mdev, StartMdev command)
    {
        switch (mdev.State)
        {
            case MdevState.Started or MdevState.Stopping:
                return new VfioError(Errno.EEXIST, $"mdev {mdev.Definition.Uuid} is {Word(mdev.State)}, at {mdev.Address}.");
            case MdevState.Stopped when command.PlanOnly && NoRoomFor(mdev.Definition) is { } full:
                return full;
            case MdevState.Stopped when command.IsPlanned(Sender, $"{mdev.Definition.Parent} would make mdev {command.Uuid}, a {mdev.Definition.Type}"):
                return null;
            case MdevState.Stopped:
                Enter(mdev, MdevState.Starting);
                mdev.Requesters.Add(Sender);
                Make([mdev.Definition], $"asked for by {command.By}");
                return null;
            default:
                return Busy(mdev);
        }
    }

    /// <summary>As its parent would say when it is to make one.</summary>
    private VfioError? NoRoomFor(MdevDefinition definition) =>
        options.Bus.FindParent(definition.Parent)?.Types.FirstOrDefault(type => type.Id == definition.Type) is { AvailableInstances: <= 0 }
            ? new VfioError(Errno.ENOSPC, $"{definition.Parent} has no room for another {definition.Type}; stop one first.")
            : null;

    /// <summary>One after the other: a parent that hangs holds up its own.</summary>
    /// <param name="how">Why now, for the history.</param>
    private void Make(ImmutableArray<MdevDefinition> definitions, string how)
    {
        var (self, bus) = (Self, options.Bus);
        host.Threads.Run(() =>
        {
            foreach (var (uuid, parent, type, _) in definitions)
                self.Tell(new Made(uuid, how, Guarded(() => bus.Create(parent, type, uuid), $"{parent} failed")));
        });
    }

    private void OnMade(Mdev mdev, Made made)
    {
        if (!made.Outcome.IsOk)
        {
            var refused = made.Outcome.Error;
            Enter(mdev, MdevState.Stopped);
            mdev.Reason = $"it could not be started: {refused}";
            if (made.How == AtStart)
                Context.GetLogger().Warning("mdev {0} could not be started: {1}", made.Uuid, refused);
            Answer(mdev, new DeviceFailed(refused));
            return;
        }

        // Made for an earlier life of this actor, it may be known by now.
        if (mdev.State == MdevState.Stopped)
            Enter(mdev, MdevState.Starting);
        var address = made.Outcome.Value.Function.Address;
        mdev.Address = address;
        var entry = new DeviceHistoryEntry(
            host.Time.GetUtcNow(), "created", $"mdev {made.Uuid}, {mdev.Definition.Type} of {mdev.Definition.Parent}, {made.How}");
        host.History.Tell(new NoteHistory(address, entry));
        Context.Parent.Tell(new DeviceNoted(address, entry));
        FinishStart(mdev);
    }

    private void OnStatus(DeviceStatus status)
    {
        statuses[status.Address] = status;
        if (At(status.Address) is { } mdev)
            FinishStart(mdev);
    }

    /// <summary>Made and probed, whatever came first to be known here.</summary>
    private void FinishStart(Mdev mdev)
    {
        if (mdev.State != MdevState.Starting || mdev.Address is not { } address
            || !statuses.TryGetValue(address, out var status) || status.State == DeviceState.Probing)
        {
            return;
        }

        Enter(mdev, MdevState.Started);
        Answer(mdev, new MdevChanged(Describe(mdev)));
    }

    // ---- Devices go ------------------------------------------------------------------------------------------------------------------

    /// <summary>Asked for again it may be with force.</summary>
    private VfioError? Stop(Mdev mdev, StopMdev stop)
    {
        switch (mdev.State)
        {
            case MdevState.Stopped:
                return new VfioError(Errno.EINVAL, $"mdev {stop.Uuid} is not started.");
            case MdevState.Started or MdevState.Stopping when StatusOf(mdev) is { Holder: not null } held && stop.IsPlanned(
                Sender, $"mdev {stop.Uuid} would leave its host when its holder has released it", held.Concerned):
            case MdevState.Started or MdevState.Stopping when stop.IsPlanned(Sender, $"mdev {stop.Uuid} would leave its host"):
                return null;
            case MdevState.Started or MdevState.Stopping:
                Enter(mdev, MdevState.Stopping);
                mdev.Requesters.Add(Sender);
                Context.Parent.Ask<object>(new RemoveDevice(mdev.Address!.Value, stop.By, stop.ForceAfter), life.Token).PipeTo(
                    Self,
                    success: answer => new RemovalEnded(stop.Uuid, answer),
                    failure: cause => new RemovalEnded(stop.Uuid, new DeviceFailed(Errno.EIO, cause.Message)));
                return null;
            default:
                return Busy(mdev);
        }
    }

    /// <summary>A removal that was done is known by the device being gone.</summary>
    private static void OnRemovalEnded(Mdev mdev, object answer)
    {
        if (answer is not DeviceFailed failed || mdev.State != MdevState.Stopping)
            return;
        mdev.State = MdevState.Started;
        Answer(mdev, failed);
    }

    /// <summary>Stopped, removed as any device can be, or lost.</summary>
    private void OnGone(DeviceGone gone)
    {
        statuses.Remove(gone.Address);
        if (At(gone.Address) is not { } mdev)
            return;
        var wasStarting = mdev.State == MdevState.Starting;
        Enter(mdev, MdevState.Stopped);
        mdev.Address = null;
        if (options.Bus.Find(gone.Address) is { } still && still.Uuid == mdev.Definition.Uuid)
            mdev.Reason = $"{mdev.Definition.Parent} has not taken it back; restart the host to start it again";
        Answer(mdev, wasStarting
            ? new DeviceFailed(Errno.ENODEV, $"mdev {mdev.Definition.Uuid} was taken away while it was started: {gone.Why}.")
            : new MdevChanged(Describe(mdev)));
    }

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    private DeviceStatus? StatusOf(Mdev mdev) => mdev.Address is { } address ? statuses.GetValueOrDefault(address) : null;

    private Mdev? At(PciAddress address) => mdevs.Values.FirstOrDefault(mdev => mdev.Address == address);

    private void Enter(Mdev mdev, MdevState state) => (mdev.State, mdev.Since, mdev.Reason) = (state, host.Time.GetUtcNow(), null);

    private static void Answer(Mdev mdev, object reply)
    {
        foreach (var requester in mdev.Requesters)
            requester.Tell(reply);
        mdev.Requesters.Clear();
    }

    private MdevStatus Describe(Mdev mdev) => new(mdev.Definition, mdev.State, mdev.Address, mdev.State switch
    {
        MdevState.Stopped => mdev.Reason,
        MdevState.Starting when mdev.Address is null => $"{mdev.Definition.Parent} has been making it for {For(mdev)}",
        MdevState.Defining or MdevState.Undefining => $"its definition has been on its way to disk for {For(mdev)}",
        _ => mdev.Address is { } address && statuses.TryGetValue(address, out var status) ? status.Reason : null,
    });

    private string For(Mdev mdev) => string.Create(CultureInfo.InvariantCulture, $"{(host.Time.GetUtcNow() - mdev.Since).TotalSeconds:0} s");

    private static VfioError Busy(Mdev mdev) => new(Errno.EAGAIN, $"mdev {mdev.Definition.Uuid} is {Word(mdev.State)}; try again.");

    private static string Word(MdevState state) => state.ToString().ToLowerInvariant();

    /// <summary>On a thread that must not end by an exception.</summary>
    private static VfioResult<T> Guarded<T>(Func<VfioResult<T>> call, string what)
    {
        try
        {
            return call();
        }
        catch (Exception cause)
        {
            return new VfioError(Errno.EIO, $"{what}: {cause.Message.TrimEnd('.')}.");
        }
    }

    private static VfioResult Guarded(Func<VfioResult> call)
    {
        try
        {
            return call();
        }
        catch (Exception cause)
        {
            return VfioResult.Fail(Errno.EIO, $"The definition could not be written: {cause.Message.TrimEnd('.')}.");
        }
    }
}
