using System.Buffers.Binary;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Qat;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Qat;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Qat;

/// <summary>The driver as its device's holder sees it.</summary>
public sealed class QatDriverTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private Task<VfLab> OpenAsync(string model = EmulatedModels.Qat) => VfLab.OpenAsync(Sys, TestActor, model, QatDriver.Registrations);

    [Fact]
    public void Its_VFs_are_matched_by_id()
    {
        var catalog = new DriverCatalog(QatDriver.Registrations);
        Assert.All(QatIds.VirtualFunctions, device => Assert.NotNull(catalog.For(new PciIds(0x8086, device))));
        Assert.Null(catalog.For(new PciIds(0x8086, 0x4940)));
    }

    [Fact]
    public async Task It_has_none_of_the_cores_features_VD_QAT_1()
    {
        using var lab = await OpenAsync();
        DeviceRequest[] asked =
        [
            new EnterLowPower(lab.Session, null), new ExitLowPower(lab.Session), new SetVfToken(lab.Session, Guid.NewGuid()),
            new GetDmaBuf(lab.Session, QatBar.Rings, [new DmaBufRange(0, QatBar.Bytes)]), new FindFeature(lab.Session, CoreFeature.LowPowerEntry),
            new UseFeature(lab.Session, 11, FeatureOperations.Get, default),
        ];
        foreach (var request in asked)
            Assert.Equal((request.GetType(), Errno.ENOTTY), (request.GetType(), await lab.RefusedAsync(request)));
    }

    [Fact]
    public async Task It_migrates_with_all_flags_and_without_a_log_VD_QAT_1()
    {
        using var lab = await OpenAsync();
        Assert.Equal(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy, (await lab.Client.GetMigrationFlagsAsync()).Value);
        Assert.Equal(Errno.ENOTTY, await lab.RefusedAsync(new StopDmaLogging(lab.Session)));
    }

    [Theory]
    [InlineData(EmulatedModels.Qat)]
    [InlineData(EmulatedModels.QatGen6)]
    public async Task A_VF_moves_with_a_job_that_waits_VD_QAT_2_VD_QAT_3(string model)
    {
        using var source = await OpenAsync(model);
        using var target = await OpenAsync(model);
        await WriteAsync(source, QatBank.RequestIova, VfBench.Iova, 8);
        await WriteAsync(source, QatBank.ResponseIova, VfBench.Iova + 0x1000, 8);
        await WriteAsync(source, QatBank.Entries, 8, 4);
        var to = await target.EnterAsync(Resuming);
        var from = await source.EnterAsync(PreCopy);
        Assert.True(to.Write(Chunks.Read(from)).IsOk);
        await source.EnterAsync(PreCopyP2P);
        await WriteAsync(source, QatBank.RequestTail, 1, 4);
        Assert.Equal(0u, await ReadAsync(source, QatBank.ResponseTail));
        await source.EnterAsync(StopCopy);
        Assert.True(to.Write(Chunks.Read(from)).IsOk);
        await target.EnterAsync(RunningP2P);
        Assert.Equal(0u, await ReadAsync(target, QatBank.ResponseTail));
        await target.EnterAsync(Running);
        Assert.Equal(1u, await ReadAsync(target, QatBank.ResponseTail));
    }

    [Fact]
    public async Task A_reset_leaves_RUNNING_and_kills_the_stream_MG_34()
    {
        using var lab = await OpenAsync();
        var stream = await lab.EnterAsync(StopCopy);
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal((Running, Errno.ENODEV), (await lab.StateAsync(), stream.Read(new byte[1]).Error.Errno));
    }

    [Fact]
    public async Task A_driver_that_failed_finds_a_suspended_VF_lost_until_a_reset_MG_31()
    {
        using var lab = await OpenAsync();
        await lab.EnterAsync(RunningP2P);
        lab.FailDriver();
        Assert.Equal(Error, await lab.StateAsync());
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal(Running, await lab.StateAsync());
        await lab.EnterAsync(PreCopy);
    }

    private static async Task WriteAsync(VfLab lab, int register, ulong value, int length)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Assert.True((await lab.Client.WriteAsync(QatBar.Rings, (ulong)register, bytes.AsMemory(0, length))).IsOk);
    }

    private static async Task<uint> ReadAsync(VfLab lab, int register) =>
        BinaryPrimitives.ReadUInt32LittleEndian((await lab.Client.ReadAsync(QatBar.Rings, (ulong)register, 4)).Value.Span);
}
