using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Accelerator;
using Fabric.Migration.Hosts;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>Devices that have less than every migration state, and those that do not log their DMA, move whole all the same (MG-5, MG-40, MG-52).</summary>
public sealed class LesserDeviceTests
{
    private const string Claim = "c1";
    private const int Memory = 1 << 20;
    private const int StateBytes = 1 << 20;

    public static TheoryData<MigrationFlags, bool> Kinds { get; } = new()
    {
        { MigrationFlags.StopCopy, false },
        { MigrationFlags.StopCopy, true },
        { MigrationFlags.StopCopy | MigrationFlags.P2P, true },
        { MigrationFlags.StopCopy | MigrationFlags.PreCopy, false },
        { MigrationFlags.StopCopy | MigrationFlags.PreCopy | MigrationFlags.P2P, false },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Memory_and_state_are_those_of_the_source_L2(MigrationFlags flags, bool logsDma)
    {
        var driver = Lesser(flags, logsDma);
        await using var alpha = new TestHost("alpha", StateBytes, driver);
        await using var beta = new TestHost("beta", StateBytes, driver);

        var (stopped, loaded) = await MoveAsync(alpha, beta);

        Assert.Equal(stopped.Streams, loaded.Streams);
        Assert.Equal(alpha.Consumer.MemoryCopy, beta.Consumer.MemoryCopy);
        await beta.Do<TargetRunning>(new RunTarget(Claim, 2, TestHost.Device, 1));
    }

    [Fact]
    public async Task What_remains_of_a_device_without_PRE_COPY_is_the_size_that_it_tells_MG_27()
    {
        var driver = Lesser(MigrationFlags.StopCopy, logsDma: true);
        await using var alpha = new TestHost("alpha", StateBytes, driver);
        await using var beta = new TestHost("beta", StateBytes, driver);

        var progress = await StartAsync(alpha, beta);

        Assert.True(progress.RemainingBytes >= StateBytes, $"{progress.RemainingBytes} bytes");
    }

    [Fact]
    public async Task Without_a_log_all_of_memory_remains_however_often_it_was_sent()
    {
        var driver = Lesser(MigrationFlags.StopCopy | MigrationFlags.PreCopy, logsDma: false);
        await using var alpha = new TestHost("alpha", StateBytes, driver);
        await using var beta = new TestHost("beta", StateBytes, driver);

        var progress = await StartAsync(alpha, beta);

        Assert.True(progress.RemainingBytes >= Memory, $"{progress.RemainingBytes} bytes");
    }

    private static async Task<PreCopyProgress> StartAsync(TestHost alpha, TestHost beta)
    {
        await alpha.Do<Attached>(new Attach(Claim, 1, [TestHost.Device], Memory, 1000));
        var prepared = await beta.Do<TargetPrepared>(new PrepareTarget(Claim, 2, 1, [TestHost.Device], Memory, 1000));
        return await alpha.Do<PreCopyProgress>(new StartPreCopy(Claim, 2, TestHost.Device, 1, prepared.Endpoint, prepared.Token, 0));
    }

    private static async Task<(SourceStopped Stopped, TargetLoaded Loaded)> MoveAsync(TestHost alpha, TestHost beta)
    {
        await StartAsync(alpha, beta);
        beta.Tell(new StopAndCopy(Claim, 2, TestHost.Device, 1));
        return (await alpha.Do<SourceStopped>(new StopAndCopy(Claim, 2, TestHost.Device, 1)), await beta.Next<TargetLoaded>());
    }

    /// <summary>The accelerator's driver behind one that lets less of it be seen.</summary>
    private static DriverRegistration Lesser(MigrationFlags flags, bool logsDma) => AcceleratorDriver.Registration with
    {
        Create = context => Props.Create(() => new LesserDriver(context, flags, logsDma)),
        Behind = AcceleratorDriver.Registration,
    };

    private sealed class LesserDriver : VariantDriver
    {
        public LesserDriver(DriverContext context, MigrationFlags flags, bool logsDma)
            : base(context)
        {
            RewriteReply<GetMigrationFlags, MigrationFlagsRead>((_, _) => new MigrationFlagsRead(flags));
            On<SetMigrationState>(set => !Has(flags, set.Target), _ => Reply(VfioResult.Fail(Errno.EINVAL, "The device has no such state.")));
            if (logsDma)
                return;
            const string none = "The device does not log its DMA.";
            Hide<StartDmaLogging>(none);
            Hide<StopDmaLogging>(none);
            Hide<ReportDmaLogging>(none);
        }

        private static bool Has(MigrationFlags flags, MigrationState state) => state switch
        {
            MigrationState.PreCopy => (flags & MigrationFlags.PreCopy) != 0,
            MigrationState.RunningP2P => (flags & MigrationFlags.P2P) != 0,
            MigrationState.PreCopyP2P => (flags & (MigrationFlags.P2P | MigrationFlags.PreCopy)) == (MigrationFlags.P2P | MigrationFlags.PreCopy),
            _ => true,
        };
    }
}
