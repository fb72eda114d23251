using Akka.Actor;
using Akka.TestKit;
using CsCheck;
using Fabric.Devices.Drivers;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>A driver that takes nothing cannot be told from no driver: same answers, same hardware, in the same order.</summary>
public sealed class TransparencyTests : DeviceTest
{
    private static readonly Gen<Func<SessionId, IActorRef, DeviceRequest>> AnyRequest = Gen.Select(
        Gen.Int[0, 20], Gen.Int[-1, 10], Gen.OneOf(Gen.ULong[0, 0x1010], Gen.ULong), Gen.Int[0, 5000], Make);

    [Fact]
    public Task A_device_with_a_driver_that_takes_nothing_behaves_as_its_core_alone() => Gen.Select(Gen.Bool, AnyRequest.Array[1, 60]).SampleAsync(
        async walk =>
        {
            var (alone, behind) = (new FakeFunction(walk.Item1), new FakeFunction(walk.Item1));
            // A parent each: a probe that has a child already hears of its probing when the next one is made.
            var core = CreateTestProbe().ChildActorOf(CoreOf(alone), Cancelled);
            var hidden = CreateTestProbe().ChildActorOf(CoreOf(behind), Cancelled);
            var driver = CreateTestProbe().ChildActorOf(PassthroughDriver.Props(new DriverContext(behind.Address, behind.Ids, hidden)), Cancelled);
            var (one, other) = (await RunAsync(core, walk.Item2), await RunAsync(driver, walk.Item2));
            Assert.Equal(one, other);
            Assert.Equal(alone.Calls, behind.Calls);
            foreach (var actor in new[] { driver, core, hidden })
                Sys.Stop(actor);
        },
        iter: 60,
        threads: 1);

    private async Task<List<string>> RunAsync(IActorRef device, Func<SessionId, IActorRef, DeviceRequest>[] walk)
    {
        TestProbe consumer = CreateTestProbe();
        var session = default(SessionId);
        var answers = new List<string>();
        foreach (var request in walk)
        {
            var reply = await AskAnyAsync(device, request(session, consumer));
            if (reply is DeviceOpened opened)
                session = opened.Session;
            answers.Add(Text(reply));
        }

        return answers;
    }

    private static Task<DeviceReply> AskAnyAsync(IActorRef device, DeviceRequest request) =>
        device.Ask<DeviceReply>(request, TimeSpan.FromSeconds(30), Cancelled);

    private static string Text(DeviceReply reply) => reply switch
    {
        RegionRead read => Convert.ToHexString(read.Data.Span),
        RegionMapped mapped => $"mapped {mapped.Mapping.Length}",
        _ => reply.ToString(),
    };

    private static Func<SessionId, IActorRef, DeviceRequest> Make(int kind, int region, ulong offset, int length) => (session, consumer) => kind switch
    {
        0 or 1 or 2 => new OpenDevice("somebody", consumer),
        3 => new CloseDevice(session),
        4 => new GetDeviceInfo(session),
        5 => new GetRegionInfo(session, region),
        6 => new GetIrqInfo(session, region),
        7 => new SetTrigger(session, (IrqIndex)region, null),
        8 => new ResetDevice(session),
        9 or 10 => new ReadRegion(session, region, offset, length),
        11 => new WriteRegion(session, region, offset, new byte[length]),
        12 => new ReadRegion(session, RegionIndex.Config, offset, length),
        13 => new WriteRegion(session, RegionIndex.Config, offset, Enumerable.Repeat((byte)length, length % 64).ToArray()),
        14 => new MapRegion(session, region),
        15 => new MapDma(session, offset & ~0xfffUL, new FakeMemory((ulong)length & ~0xfffUL)),
        16 => new UnmapDma(session, offset & ~0xfffUL),
        17 => new SetMigrationState(session, (MigrationState)region),
        18 => new WriteRegion(session, RegionIndex.Config, ConfigOffset.Command, new[] { (byte)length }),
        19 => new ErrorDetected(ChannelState.Frozen, AnError),
        _ => new GetDeviceInfo(new SessionId(length)),
    };
}
