using System.Buffers.Binary;
using Acme.Accel;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Acme.Accel.Tests;

/// <summary>The driver in front of a core that a test writes: an actor that answers what comes through.</summary>
public sealed class AcmeDriverTests : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly ActorSystem system = ActorSystem.Create("test", "akka.loglevel = OFF, akka.stdout-loglevel = OFF");
    private readonly IActorRef driver;

    public AcmeDriverTests()
    {
        var core = system.ActorOf(Props.Create(() => new Core()));
        var context = new DriverContext(PciAddress.Parse("0000:3b:00.2"), new PciIds(0x1b36, 0xfab1), core);
        driver = system.ActorOf(Props.Create(() => new AcmeDriver(context)));
    }

    [Fact]
    public async Task Opens_are_counted_on_their_way_through()
    {
        await AskAsync<DeviceOpened>(new OpenDevice("me", ActorRefs.Nobody));
        await AskAsync<DeviceOpened>(new OpenDevice("me", ActorRefs.Nobody));

        var told = await AskAsync<DeviceIoctlDone>(new DeviceIoctl(default, AcmeDriver.GetOpens, default));

        Assert.Equal(2, BinaryPrimitives.ReadInt32LittleEndian(told.Argument.Span));
    }

    [Fact]
    public async Task Another_ioctl_goes_through() => Assert.Equal(Errno.ENOTTY, (await AskAsync<DeviceFailed>(new DeviceIoctl(default, 1, default))).Error.Errno);

    [Fact]
    public async Task There_is_no_IOEVENTFD() =>
        Assert.Equal(Errno.ENOTTY, (await AskAsync<DeviceFailed>(new SetIoEventFd(default, new IoEvent(0, 0, 4, 1), null))).Error.Errno);

    [Theory]
    [InlineData(0xfab0, false)]
    [InlineData(0xfab1, true)]
    public void It_takes_virtual_functions_alone(int device, bool isTaken) => Assert.Equal(
        isTaken, AcmeDriver.Probe(new DriverContext(default, new PciIds(0x1b36, (ushort)device), ActorRefs.Nobody)).IsOk);

    public async ValueTask DisposeAsync() => await system.Terminate();

    private async Task<T> AskAsync<T>(DeviceRequest request) =>
        Assert.IsType<T>(await driver.Ask<DeviceReply>(request, Patience, TestContext.Current.CancellationToken));

    private sealed class Core : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            switch (message)
            {
                case OpenDevice:
                    Sender.Tell(new DeviceOpened(new SessionId(1)));
                    break;
                case DeviceRequest:
                    Sender.Tell(new DeviceFailed(Errno.ENOTTY, "The core has no such operation."));
                    break;
            }
        }
    }
}
