using Fabric.Devices.History;
using Fabric.Pci;

namespace Fabric.Devices.Tests.History;

public sealed class HistoryLogTests
{
    private static readonly PciAddress Device = new(0, 0x3b, 0, 2);

    private readonly HistoryLog log = new();

    [Fact]
    public void The_last_thousand_entries_of_a_device_are_kept()
    {
        NoteMany(Device, 1001);

        Assert.Equal(Enumerable.Range(2, 1000).Reverse().Select(number => $"{number}"), Read(Device, 1000));
    }

    [Fact]
    public void The_newest_come_first_as_many_as_are_asked_for()
    {
        NoteMany(Device, 5);

        Assert.Equal(["5", "4"], Read(Device, 2));
    }

    [Fact]
    public void Devices_of_a_host_that_has_very_many_share_what_it_may_hold()
    {
        var devices = Enumerable.Range(0, HistoryLog.HostLimit / 100).Select(number => PciAddress.FromRoutingId(1, (ushort)number)).ToArray();
        foreach (var device in devices)
            NoteMany(device, 1);
        foreach (var device in devices)
            NoteMany(device, 200);

        Assert.Equal(HistoryLog.HostLimit, log.Count);
        Assert.Equal(100, Read(devices[0], 1000).Length);
    }

    [Fact]
    public void An_entry_that_comes_twice_is_kept_once()
    {
        log.Note(Device, Entry("one"), 1);
        log.Note(Device, Entry("two"), 2);
        log.Note(Device, Entry("one"), 1);

        Assert.Equal(["two", "one"], Read(Device, 10));
    }

    [Fact]
    public void A_standing_that_is_older_than_the_one_it_has_is_passed_over()
    {
        log.Keep(Device, DeviceStanding.None with { QuarantinedFor = "later" }, 2);
        log.Keep(Device, DeviceStanding.None with { QuarantinedFor = "earlier" }, 1);

        Assert.Equal("later", log.Standings[Device].QuarantinedFor);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1001)]
    public void A_limit_out_of_range_is_EINVAL(int limit) =>
        Assert.Equal(Fabric.Vfio.Errno.EINVAL, Assert.IsType<DeviceFailed>(log.Answer(new GetDeviceHistory(Device, limit))).Error.Errno);

    [Fact]
    public void A_device_that_nobody_knows_has_an_empty_history() => Assert.Empty(Read(Device, 10));

    private void NoteMany(PciAddress device, int count)
    {
        for (var number = 1; number <= count; number++)
            log.Note(device, Entry($"{number}"));
    }

    private string[] Read(PciAddress device, int limit) =>
        [.. Assert.IsType<DeviceHistoryRead>(log.Answer(new GetDeviceHistory(device, limit))).Entries.Select(entry => entry.Message)];

    private static DeviceHistoryEntry Entry(string message) => new(DateTimeOffset.UnixEpoch, "tested", message);
}
