using Fabric.Devices;

namespace Fabric.Migration.Hosts;

/// <summary>
/// Functions that claims heard of a moment ago as theirs to have, and do not hold yet. Others are offered the other ones first, so that claims that
/// come at the same time do not all try the same one. Nothing is kept from anybody by it.
/// </summary>
internal sealed class Promises(TimeProvider time)
{
    /// <summary>A claim that means it has opened the function by then.</summary>
    private static readonly TimeSpan Lasting = TimeSpan.FromSeconds(5);

    private readonly Dictionary<string, (string Claim, long At)> promised = [];

    /// <summary>The same devices, those that others heard of last.</summary>
    public DeviceList OrderedFor(string claim, DeviceList list) =>
        list with { Devices = [.. list.Devices.OrderBy(device => IsOfAnother(claim, device.Address.ToString()))] };

    public void Note(TargetPlanned planned)
    {
        foreach (var device in planned.Devices)
            promised[device] = (planned.ClaimId, time.GetTimestamp());
    }

    private bool IsOfAnother(string claim, string device) =>
        promised.TryGetValue(device, out var promise) && promise.Claim != claim && time.GetElapsedTime(promise.At) < Lasting;
}
