using System.Globalization;
using Fabric.Devices;

namespace Fabric.Migration.Fleet;

/// <summary>Devices as the fabric shows them, from what their host knows.</summary>
public static class DeviceEntries
{
    public static DeviceEntry Of(DeviceStatus status) => new(
        status.Address.ToString(),
        status.Ids.ToString(),
        status.Model,
        status.Physical,
        status.Driver,
        Word(status.State),
        status.Health.ToString(),
        status.Reason,
        status.WayBack,
        status.Migration is null ? null : MigrationWords.Of(status.Migration.Value),
        status.Holder?.StartsWith("claim ", StringComparison.Ordinal) == true ? status.Holder["claim ".Length..] : null,
        status.StateBytes,
        status.IommuGroup,
        status.PhysicalFunction?.ToString(),
        status.VirtualFunctions,
        [.. status.ResetMethods],
        status.MdevUuid)
    {
        OnPurpose = status is { OnPurpose: true, State: DeviceState.Quarantined },
        DriverOverride = status.Choice?.Override,
        DriverReason = status.Choice?.Why,
        PassedOver = [.. (status.Choice?.PassedOver ?? []).Select(static passed => new PassedOverDriver(passed.Driver, passed.Reason))],
    };

    public static DriverLine Of(DriverEntry driver) => new(
        driver.Name,
        driver.Plugin,
        driver.Version,
        driver.Presence.ToString().ToLower(CultureInfo.InvariantCulture),
        driver.Reason,
        [.. driver.Ids.Select(static id => id.ToString())],
        driver.Model,
        driver.Priority,
        driver.InFrontOf,
        driver.Devices);

    internal static string Word(DeviceState state) => state.ToString().ToLower(CultureInfo.InvariantCulture);
}
