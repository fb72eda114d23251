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
        [.. status.ResetMethods]);

    internal static string Word(DeviceState state) => state.ToString().ToLower(CultureInfo.InvariantCulture);
}
