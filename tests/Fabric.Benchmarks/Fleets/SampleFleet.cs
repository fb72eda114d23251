using Fabric.Migration.Claims;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;

namespace Fabric.Benchmarks.Fleets;

/// <summary>Hosts with functions of one model, every other one held by a claim of its own; what they tell, as gateways and claims tell it.</summary>
internal sealed class SampleFleet(int hosts, int devices)
{
    public const string Model = "accelerator-vf";

    public IReadOnlyList<string> Names { get; } = [.. Enumerable.Range(0, hosts).Select(static host => $"host-{host:0000}")];

    /// <param name="holders">Claim of each function; null of a free one.</param>
    public static HostInventory Inventory(string host, IReadOnlyList<string?> holders) => new(
        host, "https://10.0.0.1:7443", "1.0.0", [.. holders.Select(static (claim, slot) => Device(slot, claim))])
    {
        Labels = ["rack=r17", "zone=a"],
    };

    public string?[] Holders(int host) => [.. Enumerable.Range(0, devices).Select(slot => slot % 2 == 0 ? $"claim-{host:0000}-{slot:000}" : null)];

    public static ClaimView Claim(string id, string host, string device) => new(
        id, [new ClaimedDevice(Model, device)], ClaimPhase.Running, host, 1, "control-1", null, DateTimeOffset.UnixEpoch, WorkloadCounters.None, []);

    public static string Address(int slot) => $"fab0:{1 + (slot / 8):x2}:00.{slot % 8}";

    private static DeviceEntry Device(int slot, string? claim) => new(
        Address(slot), "1b36:fab0", Model, Physical: false, "fabric-accelerator", claim is null ? "closed" : "open", "Healthy", Reason: null, WayBack: null,
        claim is null ? null : "running", claim, StateBytes: 1 << 20, IommuGroup: slot, PhysicalFunction: "fab0:01:00.0", VirtualFunctions: 0, ["flr"], MdevUuid: null)
    {
        DriverReason = "its ids match, and no other driver has a higher priority",
    };
}
