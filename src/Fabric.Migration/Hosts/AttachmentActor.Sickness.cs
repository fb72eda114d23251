using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Vfio;

namespace Fabric.Migration.Hosts;

/// <summary>
/// Whether the devices are well. One that is taken out of service says whether it can be read still; one that closed the session without a word
/// (it was reset and probed anew) is found by asking it whether it knows the session. What is found is told until the devices are closed: of
/// several that are sick the one that is lost, since without its state the claim cannot move.
/// </summary>
internal sealed partial class AttachmentActor
{
    private readonly ImmutableArray<DeviceHealthSeen> health;

    /// <summary>What is told: the first device that was found sick, until one is lost.</summary>
    private DeviceSick? sick;

    /// <summary>What the host tells of one device, and what was found of it.</summary>
    private sealed class DeviceHealthSeen(string address)
    {
        public string Address => address;

        /// <summary>What the host told last; null before it told anything.</summary>
        public DeviceStatus? Status { get; set; }

        public DeviceGone? Left { get; set; }

        public bool IsLooking { get; set; }

        /// <summary>It was found sick, and its state can be read still.</summary>
        public bool IsReadable { get; set; }

        /// <summary>The session has ended, and with it what the device had of the claim.</summary>
        public bool IsLost { get; set; }
    }

    /// <param name="Lost">The device does not know the session.</param>
    private sealed record SessionLooked(string Address, bool Lost);

    /// <summary>A device is lost, and so the claim cannot go on here.</summary>
    private bool IsLost => health.Any(static seen => seen.IsLost);

    private static string HolderOf(string claim) => $"claim {claim}";

    private ImmutableArray<string> Lost() => [.. health.Where(static seen => seen.IsLost).Select(static seen => seen.Address)];

    private DeviceHealthSeen HealthOf(string address) => health.Single(seen => seen.Address == address);

    private void OnDevice(object message)
    {
        switch (message)
        {
            case DeviceStatusChanged changed:
                HealthOf(changed.Status.Address.ToString()).Status = changed.Status;
                LookAtDevices();
                break;
            case DeviceGone gone:
                HealthOf(gone.Address.ToString()).Left = gone;
                LookAtDevices();
                break;
            case SessionLooked looked:
                var seen = HealthOf(looked.Address);
                seen.IsLooking = false;
                if (looked.Lost)
                {
                    var why = seen.Status?.Reason is { } known ? $"it closed the session: {known}" : "it failed, was reset, and closed the session";
                    FoundSick(seen, why, readable: false);
                }

                break;
        }
    }

    private void LookAtDevices()
    {
        foreach (var device in devices)
            LookAt(device, HealthOf(device.Address));
    }

    /// <summary>What the host says is believed of quarantine; of the session only the device itself, since the host may not have heard of it yet.</summary>
    private void LookAt(HeldDevice device, DeviceHealthSeen seen)
    {
        if (seen.Left is { } gone)
            FoundSick(seen, $"the device has left its host: {gone.Why}", readable: false);
        if (seen.IsLost || seen.Status is not { } status)
            return;
        if (status.State == DeviceState.Quarantined && (!seen.IsReadable || !status.Readable))
            FoundSick(seen, status.Reason ?? "it is in quarantine", status.Readable);
        if (seen.IsLost || seen.IsLooking || busy || status.Holder == HolderOf(claimId))
            return;
        seen.IsLooking = true;
        device.Client.GetMigrationStateAsync().PipeTo(
            Self,
            success: state => new SessionLooked(device.Address, !state.IsOk && state.Error.Errno == Errno.ENODEV),
            failure: _ => new SessionLooked(device.Address, Lost: false));
    }

    private void FoundSick(DeviceHealthSeen seen, string reason, bool readable)
    {
        if (seen.IsLost)
            return;
        (seen.IsReadable, seen.IsLost) = (readable, !readable);
        if (sick is null || (sick.Readable && !readable))
            sick = new DeviceSick(claimId, host.Host, generation, seen.Address, reason, readable);
        StandIfLost();
        TellSickness();
        // A request to it may go unanswered for long; what was told to stop may have sent everything.
        if (seen.IsLost && phase == AttachmentPhase.PreCopy && source is { IsSwitching: false })
            TellBroken(nameof(StartPreCopy), reason);
    }

    private void TellSickness()
    {
        if (sick is not null && !devices.IsEmpty)
            Tell(sick with { Generation = generation });
    }

    /// <summary>Nobody works with what is gone. A transfer ends by itself, and what it has sent whole can still be committed.</summary>
    private void StandIfLost()
    {
        if (!IsLost || phase != AttachmentPhase.Running)
            return;
        consumer?.Pause();
        phase = AttachmentPhase.Failed;
    }
}
