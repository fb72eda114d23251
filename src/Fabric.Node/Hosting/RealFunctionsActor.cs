using System.Collections.Immutable;
using Akka.Actor;
using Akka.Event;
using Fabric.Devices;
using Fabric.Hardware.Linux;
using Fabric.Migration.Fleet;
using Fabric.Migration.Wire;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Node.Hosting;

/// <summary>
/// <c>/user/real-functions</c>, in the host's own actor system: gives real functions to vfio-pci and back, one after the other, and shows the host
/// those that are not handed out, as they are now. What waits for the kernel does so on a thread of the pool.
/// </summary>
internal sealed class RealFunctionsActor : UntypedActor, IWithTimers, IWithStash
{
    /// <summary>A function that comes with its VFs is many changes at once.</summary>
    private static readonly TimeSpan Settling = TimeSpan.FromMilliseconds(200);

    /// <summary>For what is let go of: its drivers and core end.</summary>
    private static readonly TimeSpan LettingGo = TimeSpan.FromSeconds(30);

    private readonly RealFunctions? functions;
    private readonly IActorRef devices;
    private bool looksAgain;
    private bool isLooking;

    /// <param name="functions">Null for a host without any; used by this actor alone from here on.</param>
    public RealFunctionsActor(RealFunctions? functions, IActorRef devices) => (this.functions, this.devices) = (functions, devices);

    private sealed record Changed
    {
        public static Changed Instance { get; } = new();
    }

    private sealed record Look
    {
        public static Look Instance { get; } = new();
    }

    private sealed record Seen(ImmutableArray<DeviceStatus> Listed);

    private sealed record NotSeen(Exception Cause);

    private sealed record Carried(IActorRef Requester, IWireMessage Answer);

    public ITimerScheduler Timers { get; set; } = null!;

    public IStash Stash { get; set; } = null!;

    /// <param name="devices">The host actor.</param>
    public static Props Props(RealFunctions? functions, IActorRef devices) =>
        Akka.Actor.Props.Create(() => new RealFunctionsActor(functions, devices));

    protected override void PreStart()
    {
        var self = Self;
        functions?.Bus.ReportChanges(() => self.Tell(Changed.Instance));

        // What changed before this listened.
        Self.Tell(Changed.Instance);
    }

    protected override void PostStop() => functions?.Bus.ReportChanges(static () => { });

    protected override void OnReceive(object message)
    {
        if (message is IBindingOperation operation)
            Begin(operation);
        else
            Listen(message);
    }

    /// <summary>One operation is under way; the next waits for it.</summary>
    private void Working(object message)
    {
        switch (message)
        {
            case IBindingOperation:
                Stash.Stash();
                break;
            case Carried carried:
                carried.Requester.Tell(carried.Answer);
                UnbecomeStacked();
                Stash.UnstashAll();
                Self.Tell(Changed.Instance);
                break;
            default:
                Listen(message);
                break;
        }
    }

    private void Listen(object message)
    {
        switch (message)
        {
            case Changed when functions is not null && !Timers.IsTimerActive(Look.Instance):
                Timers.StartSingleTimer(Look.Instance, Look.Instance, Settling);
                break;
            case Changed:
                break;
            case Look when isLooking:
                looksAgain = true;
                break;
            case Look:
                isLooking = true;
                Task.Run(() => new Seen(functions!.Listed)).PipeTo(Self, failure: static cause => new NotSeen(cause));
                break;
            case Seen seen:
                devices.Tell(new ShowFunctions(seen.Listed));
                Looked();
                break;
            case NotSeen failed:
                Context.GetLogger().Warning("The functions of this machine could not be listed anew: {0}", failed.Cause.Message);
                Looked();
                break;
            default:
                Unhandled(message);
                break;
        }
    }

    private void Looked()
    {
        isLooking = false;
        if (!looksAgain)
            return;
        looksAgain = false;
        Self.Tell(Changed.Instance);
    }

    // ---- Binding ---------------------------------------------------------------------------------------------------------------------

    private void Begin(IBindingOperation operation)
    {
        if (!PciAddress.TryParse(operation.Device, out var address))
        {
            Sender.Tell(Refused(operation, Errno.EINVAL, PciAddress.Malformed(operation.Device)));
            return;
        }

        if (functions is null)
        {
            Sender.Tell(Refused(operation, Errno.ENODEV, "This host does not look at its real functions; set hardware.linux.enabled."));
            return;
        }

        if (!operation.PlanOnly)
            Context.GetLogger().Info("{0} of {1}, asked for by {2}", operation.GetType().Name, address, operation.By);
        var requester = Sender;
        BecomeStacked(Working);
        CarryOutAsync(operation, address).PipeTo(
            Self,
            success: answer => new Carried(requester, answer),
            failure: cause => new Carried(requester, Refused(operation, Errno.EIO, $"{operation.Device}: {cause.Message}")));
    }

    private Task<IWireMessage> CarryOutAsync(IBindingOperation operation, PciAddress address) => operation switch
    {
        BindFunction bind => Task.Run(() => Bind(bind, address)),
        UnbindFunction unbind => Task.Run(() => UnbindAsync(unbind, address)),
        _ => Task.FromResult<IWireMessage>(Refused(operation, Errno.EINVAL, $"This host knows no {operation.GetType().Name}; its version is another.")),
    };

    private IWireMessage Bind(BindFunction bind, PciAddress address)
    {
        if (functions!.Bus.Has(address))
        {
            return bind.PlanOnly
                ? new OperationPlanned(bind.Device, $"{bind.Device} is handed out already, and nothing would change", [])
                : new OperationDone(bind.Device);
        }

        var planned = functions.PlanBind(address, bind.Force, bind.Group);
        if (!planned.IsOk)
            return Refused(bind, planned.Error);
        if (bind.PlanOnly)
        {
            return new OperationPlanned(
                bind.Device,
                $"{bind.Device} would be given to vfio-pci and handed out",
                [.. planned.Value.Skip(1).Select(static other => $"{other}, which is in its IOMMU group and would be taken from its driver")]);
        }

        var bound = functions.Bind(planned.Value, bind.Force, bind.By);
        return bound.IsOk ? new OperationDone(bind.Device) : Refused(bind, bound.Error);
    }

    private async Task<IWireMessage> UnbindAsync(UnbindFunction unbind, PciAddress address)
    {
        var planned = functions!.PlanUnbind(address, unbind.Group);
        if (!planned.IsOk)
            return Refused(unbind, planned.Error);
        ImmutableArray<(BindingRequest Request, PciAddress Address)> all =
            [.. planned.Value.Select(static request => (request, PciAddress.Parse(request.Function)))];
        var known = await devices.Ask<DeviceList>(ListDevices.Instance, LettingGo);
        foreach (var (_, one) in all)
        {
            if (known.Devices.FirstOrDefault(other => other.Address == one)?.Holder is { } holder)
                return Refused(unbind, Errno.EBUSY, $"{one} is held by {holder}; have it released first.");
        }

        if (unbind.PlanOnly)
        {
            return new OperationPlanned(
                unbind.Device, $"{unbind.Device} would be given back to the driver that it had",
                [.. all.Skip(1).Select(static other => $"{other.Address}, which is in its IOMMU group and would be given back too")]);
        }

        foreach (var (_, one) in all)
        {
            functions.Unwant(one);
            if (functions.Bus.Has(one) && await LetGoAsync(one, unbind.By) is { } why)
                return AsBefore(why, all);
        }

        foreach (var (index, one) in all.Index())
        {
            if (functions.GiveBack(one.Address) is { IsOk: false } failed)
                return AsBefore(failed.Error, all[index..]);
        }

        return new OperationDone(unbind.Device);

        OperationRefused AsBefore(VfioError why, ImmutableArray<(BindingRequest Request, PciAddress)> left)
        {
            foreach (var (request, _) in left)
                functions.TakeAgain(request);
            return Refused(unbind, why);
        }
    }

    /// <summary>Null when the host has let go of it.</summary>
    private async Task<VfioError?> LetGoAsync(PciAddress address, string by)
    {
        try
        {
            return await devices.Ask<object>(new RemoveDevice(address, by, ForceAfter: null), LettingGo) is DeviceFailed failed ? failed.Error : null;
        }
        catch (AskTimeoutException)
        {
            return new VfioError(Errno.ETIMEDOUT, $"{address} is not let go of within {LettingGo.TotalSeconds:0} s; look what it waits for, and ask again.");
        }
    }

    private static OperationRefused Refused(IBindingOperation operation, VfioError why) => Refused(operation, why.Errno, why.Sentence ?? why.Errno.ToString());

    private static OperationRefused Refused(IBindingOperation operation, Errno errno, string sentence) => new(operation.Device, errno.ToString(), sentence);
}
