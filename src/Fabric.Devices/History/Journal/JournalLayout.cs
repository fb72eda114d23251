using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Devices.History.Journal;

/// <summary>Between what is kept in memory and what is written down.</summary>
internal static class JournalLayout
{
    public static IJournaled ToJournal(Unwritten unwritten) => unwritten switch
    {
        UnwrittenEntry note => new EntryNoted { Device = note.Address.ToString(), Number = note.Number, Entry = ToJournal(note.Entry) },
        UnwrittenStanding keep => new StandingChanged { Device = keep.Address.ToString(), Number = keep.Number, Standing = ToJournal(keep.Standing) },
        _ => throw new ArgumentException($"{unwritten.GetType().Name} is not written down.", nameof(unwritten)),
    };

    public static HistorySnapshot ToJournal(ImmutableArray<DeviceLog> devices) => new() { Devices = { devices.Select(ToJournal) } };

    public static void Apply(this HistoryLog log, IJournaled happened)
    {
        switch (happened)
        {
            case EntryNoted noted:
                log.Note(PciAddress.Parse(noted.Device), FromJournal(noted.Entry), noted.Number);
                break;
            case StandingChanged changed:
                log.Keep(PciAddress.Parse(changed.Device), FromJournal(changed.Standing), changed.Number);
                break;
            case HistorySnapshot snapshot:
                foreach (var device in snapshot.Devices)
                {
                    log.Put(new DeviceLog(
                        PciAddress.Parse(device.Device),
                        [.. device.Entries.Select(FromJournal)],
                        device.LastEntry,
                        device.Standing is { } standing ? FromJournal(standing) : null,
                        device.LastStanding));
                }

                break;
        }
    }

    private static DeviceRecord ToJournal(DeviceLog device) => new()
    {
        Device = device.Address.ToString(),
        LastEntry = device.LastEntry,
        Entries = { device.Entries.Select(ToJournal) },
        LastStanding = device.LastStanding,
        Standing = device.Standing is { } standing ? ToJournal(standing) : null,
    };

    private static Entry ToJournal(DeviceHistoryEntry entry) =>
        new() { At = entry.Time.ToUnixTimeMilliseconds(), Kind = entry.Kind, Message = entry.Message };

    private static DeviceHistoryEntry FromJournal(Entry entry) => new(DateTimeOffset.FromUnixTimeMilliseconds(entry.At), entry.Kind, entry.Message);

    private static Standing ToJournal(DeviceStanding standing)
    {
        var written = new Standing
        {
            Restarts = { standing.Restarts.Select(time => time.ToUnixTimeMilliseconds()) },
            Freezes = { standing.Freezes.Select(time => time.ToUnixTimeMilliseconds()) },
            ResetMethodsChosen = !standing.ResetMethods.IsDefault,
            ResetMethods = { standing.ResetMethods.IsDefault ? [] : standing.ResetMethods },
        };
        if (standing.QuarantinedFor is { } why)
            written.QuarantinedFor = why;
        if (standing.QuarantinedBy is { } by)
            written.QuarantinedBy = by;
        if (standing.DriverOverride is { } driver)
            written.DriverOverride = driver;
        return written;
    }

    private static DeviceStanding FromJournal(Standing standing) => new(
        standing.HasQuarantinedFor ? standing.QuarantinedFor : null,
        standing.HasQuarantinedBy ? standing.QuarantinedBy : null,
        [.. standing.Restarts.Select(DateTimeOffset.FromUnixTimeMilliseconds)],
        [.. standing.Freezes.Select(DateTimeOffset.FromUnixTimeMilliseconds)],
        standing.ResetMethodsChosen ? [.. standing.ResetMethods] : default)
    {
        DriverOverride = standing.HasDriverOverride ? standing.DriverOverride : null,
    };
}
