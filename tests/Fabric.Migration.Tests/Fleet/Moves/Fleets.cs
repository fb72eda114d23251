using Fabric.Migration.Claims;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Migration.Tests.Fleet.Moves;

/// <summary>Small fleets, as a test needs them.</summary>
internal static class Fleets
{
    public const string Model = "accelerator-vf";

    /// <summary>A host with functions of one model; the first of them are held by these claims.</summary>
    public static HostPlace Host(string name, int functions = 4, params string[] holders) => new(
        name, Answers: true, Left: false, [],
        [.. Enumerable.Range(0, functions).Select(slot => new DevicePlace($"{slot}", Model, Free: slot >= holders.Length, Sick: false, holders.ElementAtOrDefault(slot)))]);

    public static ClaimPlace Claim(string id, string host, ClaimPhase phase = ClaimPhase.Running) => new(id, [Model], host, phase, null, [], null, []);

    /// <param name="outcome">Null while it is under way.</param>
    public static MigrationView Migration(int number, string? outcome) => new(
        number, "alpha", ["0"], "beta", ["0"], outcome is null ? MigrationStep.PreCopy : MigrationStep.Done, outcome, null, DateTimeOffset.UnixEpoch, 0, null,
        300, 0, 0, 0, 0, Verified: false, null, [], "ops");

    public static HostPlace Sick(this HostPlace host, int count) => host with
    {
        Devices = [.. host.Devices.Select((device, slot) => device with { Sick = slot < count })],
    };

    public static FleetSnapshot Of(params object[] parts) => new([.. parts.OfType<HostPlace>()], [.. parts.OfType<ClaimPlace>()]);
}
