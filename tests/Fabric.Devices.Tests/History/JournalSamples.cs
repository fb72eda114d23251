using Fabric.Devices.History.Journal;
using Google.Protobuf;

namespace Fabric.Devices.Tests.History;

/// <summary>
/// What each golden file holds. A file is never written again: a field that is added gets a sample and a file beside the old one, named
/// <c>manifest.2.golden</c> and so on, and the last of a manifest has every field.
/// </summary>
internal static class JournalSamples
{
    public static IReadOnlyList<(string Manifest, string File, IMessage Message)> All { get; } =
    [
        Of("device.noted.v1", new EntryNoted { Device = "0000:3b:00.2", Number = 7, Entry = Quarantined }),
        Of("device.standing.v1", new StandingChanged { Device = "0000:3b:00.2", Number = 3, Standing = Standing }),
        Of("device.snapshot.v1", new HistorySnapshot
        {
            Devices = { new DeviceRecord { Device = "0000:3b:00.2", LastEntry = 1007, Entries = { Quarantined }, LastStanding = 3, Standing = Standing } },
        }),
        Of("device.standing.v1", new StandingChanged { Device = "0000:3b:00.2", Number = 3, Standing = Overridden }, 2),
        Of("device.snapshot.v1", new HistorySnapshot
        {
            Devices = { new DeviceRecord { Device = "0000:3b:00.2", LastEntry = 1007, Entries = { Quarantined }, LastStanding = 3, Standing = Overridden } },
        }, 2),
    ];

    private static Entry Quarantined => new() { At = 1_795_341_600_123, Kind = "quarantined", Message = "it smells (by ops)" };

    private static Standing Standing => new()
    {
        QuarantinedFor = "it smells",
        QuarantinedBy = "ops",
        Restarts = { 1_795_341_500_000, 1_795_341_550_001 },
        Freezes = { 1_795_341_560_002 },
        ResetMethodsChosen = true,
        ResetMethods = { "flr", "bus" },
    };

    private static Standing Overridden => new(Standing) { DriverOverride = "acme-accel" };

    private static (string Manifest, string File, IMessage Message) Of(string manifest, IMessage message, int file = 1) =>
        (manifest, file == 1 ? $"{manifest}.golden" : $"{manifest}.{file}.golden", message);
}
