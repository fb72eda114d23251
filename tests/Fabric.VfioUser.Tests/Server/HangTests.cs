using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>Hardware that does not come back from an access, while the client's own thread is in it.</summary>
public sealed class HangTests
{
    private static readonly DeviceOptions Impatient = DeviceOptions.Default with { CallDeadline = TimeSpan.FromSeconds(2) };
    private static readonly RegionAccessPayload Register = new(0x80, RegionIndex.Bar0, 4);

    [Fact]
    public async Task A_client_of_a_device_that_hangs_is_answered_and_is_served_further()
    {
        await using var lab = await Lab.StartAsync(devices: Impatient);
        using var client = await lab.OpenAsync();
        await client.ReadAsync(RegionIndex.Bar0, 0x80, 4);
        var quarantined = lab.WhenQuarantined();
        Assert.True(lab.Faults.Hang(lab.Function, HangPoint.Region).IsOk);
        Assert.Equal(Errno.EIO, (await client.RequestAsync(Command.RegionRead, Register)).Errno);
        Assert.Equal(1, lab.Faults.HungCalls(lab.Function));
        await quarantined;
        // The thread that read this client's messages before is in the hardware still.
        Assert.Equal(Errno.EIO, (await client.RequestAsync(Command.RegionRead, Register)).Errno);
        Assert.True(lab.Faults.Release(lab.Function).IsOk);
    }

    [Fact]
    public async Task A_client_that_leaves_a_device_that_hangs_gives_its_seat_back()
    {
        await using var lab = await Lab.StartAsync(devices: Impatient);
        using (var client = await lab.OpenAsync())
        {
            var quarantined = lab.WhenQuarantined();
            Assert.True(lab.Faults.Hang(lab.Function, HangPoint.Region).IsOk);
            Assert.Equal(Errno.EIO, (await client.RequestAsync(Command.RegionRead, Register)).Errno);
            await quarantined;
        }

        // The device is out of service, and says so: EBUSY would be the seat's.
        using var next = await lab.ConnectAsync();
        Assert.Equal(Errno.EIO, (await next.RequestAsync(Command.Version, TestClient.VersionPayloadOf())).Errno);
        Assert.True(lab.Faults.Release(lab.Function).IsOk);
    }
}
