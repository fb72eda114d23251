using Akka.Actor;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

public sealed class DeviceClientTests : DeviceTest
{
    private readonly FakeFunction function = new();
    private readonly IActorRef device;

    public DeviceClientTests() => device = ActorOf(CoreOf(function));

    [Fact]
    public async Task A_call_gives_the_value_of_its_reply()
    {
        var client = (await DeviceClient.OpenAsync(device, "somebody", TestActor)).Value;

        Assert.True((await client.WriteAsync(0, 0x10, new byte[] { 0xca, 0xfe })).IsOk);
        Assert.Equal([0xca, 0xfe], (await client.ReadAsync(0, 0x10, 2)).Value.ToArray());
        Assert.Equal(0x1000UL, (await client.MapAsync(0)).Value.Length);
        Assert.True((await client.MapDmaAsync(0, new FakeMemory(0x1000))).IsOk);
        Assert.True((await client.SetTriggerAsync(IrqIndex.Err, new FakeTarget())).IsOk);
        Assert.True((await client.ResetAsync()).IsOk);
    }

    [Fact]
    public async Task A_call_that_is_refused_gives_the_errno()
    {
        var client = (await DeviceClient.OpenAsync(device, "somebody", TestActor)).Value;

        Assert.Equal(Errno.EINVAL, (await client.ReadAsync(8, 0, 4)).Error.Errno);
        Assert.Equal(Errno.ENOTTY, (await client.SetMigrationStateAsync(MigrationState.Stop)).Error.Errno);
    }

    [Fact]
    public async Task An_open_that_is_refused_gives_the_errno()
    {
        await DeviceClient.OpenAsync(device, "somebody", TestActor);

        Assert.Equal(Errno.EBUSY, (await DeviceClient.OpenAsync(device, "somebody else", TestActor)).Error.Errno);
    }

    [Fact]
    public async Task After_it_is_closed_every_call_is_ENODEV()
    {
        var client = (await DeviceClient.OpenAsync(device, "somebody", TestActor)).Value;

        Assert.True((await client.CloseAsync()).IsOk);
        Assert.Equal(Errno.ENODEV, (await client.ResetAsync()).Error.Errno);
    }

    [Fact]
    public async Task A_device_that_answers_something_else_is_EIO()
    {
        var odd = ActorOf(Props.Create(() => new Odd()));

        var opened = await DeviceClient.OpenAsync(odd, "somebody", TestActor);

        Assert.Equal(Errno.EIO, opened.Error.Errno);
    }

    private sealed class Odd : ReceiveActor
    {
        public Odd() => ReceiveAny(_ => Sender.Tell(DeviceDone.Instance));
    }
}
