using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices;

/// <summary>
/// Told to a supervisor: its device is to be bound anew. Answered with <see cref="DeviceUnbound"/>, or with <see cref="UnbindRefused"/>.
/// </summary>
internal sealed record UnbindDevice(string Why) : INoSerializationVerificationNeeded;

/// <summary>Told to a supervisor: the journal was read after all, and names a driver for its device.</summary>
internal sealed record AdoptOverride(string Driver) : INoSerializationVerificationNeeded;

/// <summary>Told to a supervisor: the choice stays what it is, and is explained anew.</summary>
internal sealed record ExplainDriver(DriverChoice Choice) : INoSerializationVerificationNeeded;

/// <summary>Told to the host: nothing holds the device, its core has let it go, and its supervisor waits to be stopped.</summary>
/// <param name="For">Whose driver_override is the cause; null where it is the host's own wish.</param>
/// <param name="Trouble">The override could not be written down.</param>
/// <param name="Unmade">The driver could not be made.</param>
internal sealed record DeviceUnbound(PciAddress Address, IActorRef? For, VfioError? Trouble, DriverPassedOver? Unmade)
    : INoSerializationVerificationNeeded;

internal sealed record UnbindRefused(PciAddress Address, VfioError Error) : INoSerializationVerificationNeeded;

/// <summary>A device that is given up for another driver.</summary>
/// <param name="Before">What it was.</param>
/// <param name="Command">Of whoever overrides the driver; null where the driver is not overridden.</param>
/// <param name="Asker">Who hears of a refusal.</param>
internal sealed record Unbinding(string Why, DeviceStatus Before, IActorRef Asker, OverrideDriver? Command = null, DriverPassedOver? Unmade = null)
{
    /// <summary>The core has let go, and it waits for the standing to be written down.</summary>
    public bool IsKeeping { get; init; }
}

/// <summary>
/// Binding anew: a device that nobody holds is let go by its core and then by its supervisor; the host chooses a driver and makes another one.
/// What is asked meanwhile waits, at the host from then on.
/// </summary>
internal sealed partial class DeviceSupervisor
{
    private Making? making;
    private bool isUnbound;

    private sealed record MakingLate;

    /// <summary>Drivers that come from elsewhere and have not come out of their constructors yet.</summary>
    /// <param name="Limit">When they hang.</param>
    /// <param name="Left">How many.</param>
    /// <param name="Probed">The core's word, which came meanwhile.</param>
    /// <param name="Hangs">What they hang in, once that is known.</param>
    private sealed record Making(ICancelable Limit, int Left, CoreProbed? Probed = null, string? Hangs = null);

    // ---- Out of the constructor ------------------------------------------------------------------------------------------------------

    /// <summary>A constructor from a plugin may never return: then the driver's address never answers, and the device is out of service.</summary>
    private void SeeThatDriversAreMade()
    {
        making = null;
        if (device.Driver?.Stack.All(static driver => driver.Plugin is null) != false)
            return;
        making = new Making(
            Context.System.Scheduler.ScheduleTellOnceCancelable(host.Options.CallDeadline, Self, new MakingLate(), Self), Chain.Length);
        foreach (var driver in Chain)
            driver.Tell(new Identify(nameof(SeeThatDriversAreMade)));
    }

    private void OnDriverMade(Making made)
    {
        if (made.Left > 1)
        {
            making = made with { Left = made.Left - 1 };
            return;
        }

        made.Limit.Cancel();
        making = null;
        if (made.Hangs is { } hung)
            Apply(new HangEnded(hung, TimeSpan.Zero));
        if (made.Probed is { } probed)
            OnProbed(probed);
    }

    private void OnMakingLate(Making late)
    {
        var hangs = $"the constructor of driver {device.Driver!.Name}";
        making = late with { Probed = null, Hangs = hangs };
        OnHung(new HardwareHung(hangs, host.Options.CallDeadline));
        Stash.UnstashAll();
    }

    /// <summary>The first one of this life could not be made: the next best driver is taken, and what stands in for it is not to be used.</summary>
    private void NotMade(Exception cause)
    {
        var broken = device.Driver!.Stack.ElementAtOrDefault(Chain.IndexOf(Sender)) ?? device.Driver;
        var thrown = cause.GetBaseException();
        var why = $"the constructor of {broken.Name} failed: {(thrown is DriverNotMadeException told ? told.Message : DriverClass.Words(thrown))}";
        device.IsDriverBroken = true;
        making?.Limit.Cancel();
        var probed = making?.Probed;
        making = null;
        if (device.Unbinding is null)
            Begin(new Unbinding(why, Status, ActorRefs.Nobody, Unmade: new DriverPassedOver(device.Driver.Name, why, Refused: true)));
        if (probed is not null)
            OnProbed(probed);
    }

    // ---- Letting go ------------------------------------------------------------------------------------------------------------------

    private void Override(OverrideDriver command)
    {
        if (command.Driver == device.Standing.DriverOverride)
            command.AnswerAlready(Sender, $"{Address} has that driver_override");
        else if (UnbindRefusal is { } refused)
            Sender.Tell(new DeviceFailed(refused));
        else if (!command.IsPlanned(Sender, command.Would(Status.Driver)))
            Begin(new Unbinding($"driver_override, by {command.By}", Status, Sender, command));
    }

    private void Unbind(UnbindDevice command)
    {
        if (UnbindRefusal is { } refused)
            Sender.Tell(new UnbindRefused(Address, refused));
        else
            Begin(new Unbinding(command.Why, Status, Sender));
    }

    /// <summary>One that is held is bound by it when it is probed next.</summary>
    private void Adopt(AdoptOverride adopt)
    {
        if (device.Standing.DriverOverride is not null)
            return;
        var command = new OverrideDriver(Address, adopt.Driver, "the journal");
        if (UnbindRefusal is null)
            Begin(new Unbinding("driver_override, as the journal has it", Status, ActorRefs.Nobody, command));
        else
            Keep(device.Standing with { DriverOverride = adopt.Driver });
    }

    private VfioError? UnbindRefusal
    {
        get
        {
            if (Leaving is not null)
                return new VfioError(Errno.ENODEV, $"{Address} is being taken away; ask the host for its devices.");
            if (Hung is { } hang)
                return new VfioError(Errno.EBUSY, $"{Address} hangs in {hang.Call}; its driver can be changed when that has come back.");
            if (Status.Holder is { } holder)
                return new VfioError(Errno.EBUSY, $"{Address} is held by {holder}; release it first.");
            if (Status.VirtualFunctions > 0)
                return new VfioError(Errno.EBUSY, $"{Address} has {Status.VirtualFunctions} VFs; remove them first ('fabric sriov set … 0').");
            if (Status.State == DeviceState.Recovering)
                return new VfioError(Errno.EBUSY, $"{Address} recovers from an error; wait until it is in service again.");
            return device.Unquarantining is { } other
                ? new VfioError(Errno.EAGAIN, $"{Address} is being put back into service, by {other.By}; try again.")
                : null;
        }
    }

    private void Begin(Unbinding unbinding)
    {
        var wasProbing = Status.State == DeviceState.Probing;
        device.Unbinding = unbinding;
        Front.Tell(new FenceDevice(new VfioError(Errno.EAGAIN, $"{Address} is being bound to a driver anew; try again."), OpensOnly: true));
        Publish(Status with { State = DeviceState.Probing, Reason = $"it is bound anew: {unbinding.Why}", WayBack = null });
        if (!wasProbing)
            LetGo();
    }

    /// <summary>Who opened it through what stands in for a driver does not keep it.</summary>
    private void LetGo()
    {
        if (device.Unbinding!.Unmade is not null)
            core.Tell(new EndSessions(device.Unbinding.Why));
        core.Tell(UnbindCore.Instance);
    }

    private void OnCoreUnbound(Unbinding unbinding, CoreUnbound answer)
    {
        if (Leaving is not null)
        {
            device.Unbinding = null;
            Refuse(unbinding, new VfioError(Errno.ENODEV, $"{Address} is being taken away; ask the host for its devices."));
        }
        else if (answer.IsHeld && unbinding.Unmade is not null)
        {
            LetGo();
        }
        else if (answer.Refused is { } hangs && unbinding.Unmade is not null)
        {
            device.Unbinding = null;
            if (!IsQuarantined)
                Quarantine($"{unbinding.Why}, and {hangs.Sentence}", OwnName, readable: false);
            Stash.UnstashAll();
        }
        else if (answer.Refused is { } held)
        {
            device.Unbinding = null;
            Refuse(unbinding, held);
            if (!IsQuarantined)
            {
                Front.Tell(new FenceDevice(null));
                var state = Status.Holder is null ? unbinding.Before.State : DeviceState.Open;
                Publish(Status with { State = state, Reason = unbinding.Before.Reason, WayBack = unbinding.Before.WayBack });
            }
            else if (Status.State == DeviceState.Probing)
            {
                Refence();
                Publish(unbinding.Before);
            }

            Stash.UnstashAll();
        }
        else if (unbinding.Command is { } command)
        {
            device.Unbinding = unbinding with { IsKeeping = true };
            Note("driver-override", $"{command.Driver ?? "cleared"}, by {command.By}");
            WaitUntilKept(new Waiter(Self, command.By));
            Keep(device.Standing with { DriverOverride = command.Driver });
        }
        else
        {
            Finish(unbinding, null);
        }
    }

    private void Refuse(Unbinding unbinding, VfioError error)
    {
        if (unbinding.Command is null)
            unbinding.Asker.Tell(new UnbindRefused(Address, error));
        else
            unbinding.Asker.Tell(new DeviceFailed(error));
    }

    private void Finish(Unbinding unbinding, VfioError? trouble)
    {
        device.Unbinding = null;
        if (Leaving is not null)
        {
            Refuse(unbinding, new VfioError(Errno.ENODEV, $"{Address} is being taken away; ask the host for its devices."));
            return;
        }

        isUnbound = true;
        device.Slot.IsGivenUp = true;
        host.Threads.Run(host.Registered.Strike(Address));
        Context.Parent.Tell(new DeviceUnbound(Address, unbinding.Command is null ? null : unbinding.Asker, trouble, unbinding.Unmade));
        // After that: the host has them wait for the next supervisor.
        foreach (var waiting in Stash.ClearStash().Where(static waiting => waiting.Message is DeviceCommand))
            Context.Parent.Tell(waiting.Message, waiting.Sender);
    }

    private void OnBinding(object message)
    {
        switch (message)
        {
            case MakingLate when making is { } late:
                OnMakingLate(late);
                break;
            case ActorIdentity when making is { } made:
                OnDriverMade(made);
                break;
            case CoreUnbound answer when device.Unbinding is { IsKeeping: false } unbinding:
                OnCoreUnbound(unbinding, answer);
                break;
            case HostDone when device.Unbinding is { IsKeeping: true } kept:
                Finish(kept, null);
                break;
            case DeviceFailed failed when device.Unbinding is { IsKeeping: true } kept:
                Finish(kept, failed.Error);
                break;
            case UnbindDevice or AdoptOverride or ExplainDriver when isUnbound:
                break;
            case UnbindDevice or AdoptOverride when Status.State == DeviceState.Probing:
                Stash.Stash();
                break;
            case UnbindDevice unbind:
                Unbind(unbind);
                break;
            case AdoptOverride adopt:
                Adopt(adopt);
                break;
            case ExplainDriver explain:
                Publish(Status with { Choice = explain.Choice });
                break;
        }
    }
}
