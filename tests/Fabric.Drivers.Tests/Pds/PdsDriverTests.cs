using System.Buffers.Binary;
using Akka.TestKit;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Pds;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Pds;
using Fabric.Hardware.Specs.Pds;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Pds;

/// <summary>The driver as its device's holder sees it. Akka's clock is the test's.</summary>
public sealed class PdsDriverTests() : TestKit(
    """
    akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off
           scheduler.implementation = "Akka.TestKit.TestScheduler, Akka.TestKit" }
    """)
{
    private TestScheduler Scheduler => (TestScheduler)Sys.Scheduler;

    private Task<VfLab> OpenAsync(TimeSpan suspendTime = default) => VfLab.OpenAsync(
        Sys, TestActor, EmulatedModels.Pds, [PdsDriver.Registration], physical => ((PdsPhysicalFunction)physical).SuspendTime = suspendTime);

    [Fact]
    public async Task A_VF_moves_with_what_it_wrote_known_VD_PDS_1_VD_PDS_2_VD_PDS_4()
    {
        using var source = await OpenAsync();
        using var target = await OpenAsync();
        Assert.Equal(MigrationFlags.StopCopy | MigrationFlags.P2P, (await source.Client.GetMigrationFlagsAsync()).Value);
        Assert.IsType<DeviceDone>(await source.AskAsync<DeviceReply>(new StartDmaLogging(source.Session, VfBench.Iova, VfBench.MemoryBytes)));
        await WriteAsync(source, PdsRegister.RingIova, VfBench.Iova + 0x3000, 8);
        await WriteAsync(source, PdsRegister.RingSlots, 16, 4);
        await WriteAsync(source, PdsRegister.Producer, 5, 4);

        var from = await source.EnterAsync(StopCopy);
        var dirty = (await source.AskAsync<DmaLoggingReported>(new ReportDmaLogging(source.Session))).Dirty;
        Assert.Equal([(VfBench.Iova + 0x3000, 4096UL)], dirty.Runs);
        Assert.True((await target.EnterAsync(Resuming)).Write(Chunks.Read(from)).IsOk);
        await target.EnterAsync(Running);
        Assert.Equal(5u, await ReadAsync(target, PdsRegister.Consumer));
    }

    [Fact]
    public async Task A_suspension_is_waited_for_and_holds_up_what_comes_after_it_MG_36_VD_PDS_1()
    {
        using var lab = await OpenAsync(TimeSpan.FromMilliseconds(40));
        var set = lab.Client.SetMigrationStateAsync(Stop);
        var reset = lab.Client.ResetAsync();
        Assert.True((await lab.UntilAsync(set, Scheduler, TimeSpan.FromMilliseconds(1))).IsOk);
        Assert.True((await reset).IsOk);
        Assert.Equal(Running, await lab.StateAsync());
    }

    [Fact]
    public async Task A_recovery_of_firmware_is_told_to_the_driver_and_only_a_reset_leads_on_VD_PDS_3()
    {
        using var lab = await OpenAsync();
        await lab.EnterAsync(RunningP2P);
        lab.Physical.RestartFirmware();
        Assert.Equal(Error, await lab.StateAsync());
        foreach (var target in new[] { Error, RunningP2P, Running })
            Assert.Equal(Errno.EIO, (await lab.Client.SetMigrationStateAsync(target)).Error.Errno);
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        await lab.EnterAsync(StopCopy);
    }

    [Fact]
    public async Task A_driver_that_failed_finds_a_VF_that_stands_lost_and_its_log_ended_MG_31()
    {
        using var lab = await OpenAsync();
        Assert.IsType<DeviceDone>(await lab.AskAsync<DeviceReply>(new StartDmaLogging(lab.Session, VfBench.Iova, VfBench.MemoryBytes)));
        await lab.EnterAsync(Stop);
        lab.FailDriver();
        Assert.Equal(Error, await lab.StateAsync());
        Assert.Equal(Errno.EINVAL, await lab.RefusedAsync(new ReportDmaLogging(lab.Session)));
        Assert.False(((PdsVirtualFunction)lab.Function).IsLogging);
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal(Running, await lab.StateAsync());
    }

    [Fact]
    public async Task A_close_ends_the_log_and_what_the_host_tells_of_itself_VD_PDS_1()
    {
        using var lab = await OpenAsync();
        var function = (PdsVirtualFunction)lab.Function;
        Assert.IsType<DeviceDone>(await lab.AskAsync<DeviceReply>(new StartDmaLogging(lab.Session, VfBench.Iova, VfBench.MemoryBytes)));
        await lab.EnterAsync(Stop);
        Assert.Equal((true, PdsHostStatus.InProgress), (function.IsLogging, function.HostStatus));
        await lab.AskAsync<DeviceDone>(new CloseDevice(lab.Session));
        Assert.Equal((false, PdsHostStatus.None), (function.IsLogging, function.HostStatus));
    }

    [Fact]
    public async Task Without_the_PFs_driver_it_is_not_opened_VD_0()
    {
        using var lab = await OpenAsync();
        lab.Physical.DetachDriver();
        await lab.AskAsync<DeviceDone>(new CloseDevice(lab.Session));
        Assert.Equal(Errno.ENOTCONN, await lab.RefusedAsync(new OpenDevice("the test", TestActor)));
        lab.Physical.AttachDriver();
        await lab.AskAsync<DeviceOpened>(new OpenDevice("the test", TestActor));
    }

    [Fact]
    public void It_is_matched_by_id() =>
        Assert.Equal("pds", new DriverCatalog(PdsDriver.Registration).For(new PciIds(0x1dd8, 0x1003))?.Model);

    private static async Task WriteAsync(VfLab lab, int register, ulong value, int length)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Assert.True((await lab.Client.WriteAsync(PdsBar.Registers, (ulong)register, bytes.AsMemory(0, length))).IsOk);
    }

    private static async Task<uint> ReadAsync(VfLab lab, int register) =>
        BinaryPrimitives.ReadUInt32LittleEndian((await lab.Client.ReadAsync(PdsBar.Registers, (ulong)register, 4)).Value.Span);
}
