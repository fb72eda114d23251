using System.Collections.Immutable;
using Fabric.Devices;
using Fabric.Migration.Fleet;
using Fabric.Vfio.Migration;
using static Fabric.Migration.Hosts.MigrationBrokenException;

namespace Fabric.Migration.Hosts;

/// <summary>
/// How the devices of one consumer change their state together: no device stops, or runs at full speed, before every one of them has ceased,
/// or not yet begun, to reach its peers (MG-52, MG-53 g). A barrier is passed when all devices have done their part, each at its own pace; where
/// one cannot, the others have ended theirs all the same, and nothing of the next barrier begins.
/// </summary>
internal static class DeviceBarriers
{
    /// <summary>Without P2P a device cannot leave its peers alone while they stop: several of a claim must have it.</summary>
    /// <exception cref="MigrationBrokenException">There are several, and one has not.</exception>
    public static void Require(ImmutableArray<HeldDevice> devices)
    {
        if (devices.Length > 1 && devices.FirstOrDefault(static device => !device.Has(MigrationFlags.P2P)) is { } lacking)
        {
            throw new MigrationBrokenException(
                $"{lacking.Address} does not migrate with P2P, which each of several devices of one claim needs; give it to a claim of its own.");
        }
    }

    /// <summary>From any state: all accept their peers, then all run. Where one cannot, none is left running.</summary>
    public static async Task RunAsync(ImmutableArray<HeldDevice> devices)
    {
        try
        {
            if (devices.Length > 1)
                await SetAsync(devices, static device => device.Quiet);
            await SetAsync(devices, static _ => MigrationState.Running);
        }
        catch (MigrationBrokenException)
        {
            // As far as they can: what is told is the failure that was first.
            await Task.WhenAll(devices.Select(static device => device.Client.SetMigrationStateAsync(MigrationState.Stop)));
            throw;
        }
    }

    /// <summary>From RUNNING: all leave their peers alone, then all stand.</summary>
    public static async Task StopAsync(ImmutableArray<HeldDevice> devices)
    {
        if (devices.Length > 1)
            await SetAsync(devices, static device => device.Quiet);
        await SetAsync(devices, static _ => MigrationState.Stop);
    }

    /// <summary>From RUNNING or PRE_COPY: all leave their peers alone, then all stand and give their state.</summary>
    /// <param name="saving">Those that are in PRE_COPY.</param>
    /// <returns>The streams of STOP_COPY; null where PRE_COPY's goes on (MG-24).</returns>
    public static async Task<ImmutableArray<IMigrationStream?>> StopToCopyAsync(ImmutableArray<HeldDevice> devices, ImmutableArray<bool> saving)
    {
        await SetAsync(devices, device => (saving[devices.IndexOf(device)], device.Quiet) switch
        {
            (true, MigrationState.RunningP2P) => MigrationState.PreCopyP2P,
            (_, var quiet) => quiet,
        });
        var stopped = await SetAsync(devices, static _ => MigrationState.StopCopy);
        return [.. stopped.Select(static set => set?.Stream)];
    }

    /// <summary>From RESUMING: every device has accepted its state, and stands.</summary>
    public static Task LoadAsync(ImmutableArray<HeldDevice> devices) => SetAsync(devices, static _ => MigrationState.Stop);

    /// <summary>One barrier.</summary>
    /// <param name="target">Null for a device that stays where it is.</param>
    private static async Task<MigrationStateSet?[]> SetAsync(ImmutableArray<HeldDevice> devices, Func<HeldDevice, MigrationState?> target)
    {
        var setting = devices.Select(device => (Device: device, Target: target(device)))
            .Select(static move => (move.Device, move.Target, Set: move.Target is { } state ? move.Device.Client.SetMigrationStateAsync(state) : null))
            .ToArray();
        await Task.WhenAll(setting.Select(static move => move.Set).OfType<Task>());
        var passed = new MigrationStateSet?[setting.Length];
        foreach (var (index, (device, state, set)) in setting.Index())
            passed[index] = set is null ? null : ValueOf(await set, $"{device.Address} could not enter {MigrationWords.Of(state!.Value)}");
        return passed;
    }
}
