using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Drivers.Tests.Mtty;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Virtio;

/// <summary>The driver as its device's holder sees it: which operations it has, its legacy ports, its migration.</summary>
public sealed class VirtioDriverTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private const ulong List = 1;

    // ---- Three sets of operations (VD-VIR-1) -----------------------------------------------------------------------------------------

    [Theory]
    [InlineData(true, true, Errno.None, 32)]
    [InlineData(false, true, Errno.None, 0)]
    [InlineData(true, false, Errno.ENOTTY, 32)]
    [InlineData(false, false, Errno.ENOTTY, 0)]
    public async Task What_a_VF_has_is_what_its_PF_takes_commands_for_VD_VIR_1(bool legacy, bool parts, Errno migration, ulong bar0)
    {
        var commands = List | (legacy ? VirtioAdmin.LegacyCommands : 0) | (parts ? VirtioAdmin.PartsCommands : 0);
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor, commands: commands);
        await AssertHas(lab, migration, bar0);
    }

    [Fact]
    public async Task A_VF_with_a_BAR_0_of_its_own_keeps_it_and_migrates_VD_VIR_1()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor, wrap: static function => new FunctionWithBar0(function));
        await AssertHas(lab, Errno.None, 4096);
        Assert.Equal((0x1041u, 1u), (await lab.ReadConfigAsync(ConfigOffset.DeviceId, 2), await lab.ReadConfigAsync(ConfigOffset.Revision, 1)));
    }

    [Fact]
    public async Task A_PF_is_the_cores_alone_VD_VIR_1()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor, opens: 0);
        await AssertHas(lab, Errno.ENOTTY, 0);
        Assert.Equal((0x1041u, 1u), (await lab.ReadConfigAsync(ConfigOffset.DeviceId, 2), await lab.ReadConfigAsync(ConfigOffset.Revision, 1)));
    }

    private static async Task AssertHas(VirtioLab lab, Errno migration, ulong bar0)
    {
        Assert.Equal(migration, (await lab.Client.GetMigrationFlagsAsync()).Error.Errno);
        Assert.Equal(migration, ErrnoOf(await lab.AskAsync(new GetMigrationDataSize(lab.Client.Session))));
        Assert.Equal(Errno.ENOTTY, (await lab.Client.StartDmaLoggingAsync(0, 4096)).Error.Errno);
        Assert.Equal(bar0, ((RegionInfoRead)await lab.AskAsync(new GetRegionInfo(lab.Client.Session, 0))).Info.Size);
    }

    // ---- Legacy ports (VD-VIR-2) -----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_legacy_guest_finds_a_transitional_card_sets_it_up_and_notifies_it_at_its_own_place_VD_VIR_2()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor);
        var memory = new HolderMemory(1 << 16);
        Assert.True((await lab.Client.MapDmaAsync(0, memory)).IsOk);
        Assert.Equal((0x1af4u, 0x1000u, 0u, 1u), (
            await lab.ReadConfigAsync(ConfigOffset.VendorId, 2), await lab.ReadConfigAsync(ConfigOffset.DeviceId, 2),
            await lab.ReadConfigAsync(ConfigOffset.Revision, 1), await lab.ReadConfigAsync(ConfigOffset.SubsystemId, 2)));
        await lab.WriteConfigAsync(ConfigOffset.Bar0, 4, 0xc000);
        await lab.WriteConfigAsync(ConfigOffset.Command, 2, (uint)(PciCommand.IoSpace | PciCommand.BusMaster));
        Assert.Equal((0xc001u, 5u), (await lab.ReadConfigAsync(ConfigOffset.Bar0, 4), await lab.ReadConfigAsync(ConfigOffset.Command, 2) & 5));

        await lab.WritePortAsync(VirtioLegacy.QueueSelect, 2, 1);
        await lab.WritePortAsync(VirtioLegacy.QueuePage, 4, 1);
        await lab.WritePortAsync(VirtioLegacy.Status, 1, 7);
        memory.Bytes[0x2002] = 1;
        lab.Function.Refuses = (VirtioOpcode.WriteLegacyCommon, Errno.EIO);
        await lab.WritePortAsync(VirtioLegacy.QueueNotify, 2, 1);
        Assert.Equal((1, 1u), (memory.Bytes[0x3002], await lab.ReadPortAsync(VirtioLegacy.Interrupt, 1)));
    }

    [Fact]
    public async Task BAR_0_is_32_ports_that_are_not_mapped_and_EIO_without_IO_decode_VD_VIR_2()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor);
        var info = ((RegionInfoRead)await lab.AskAsync(new GetRegionInfo(lab.Client.Session, 0))).Info;
        Assert.Equal(new RegionInfo(0, RegionFlags.Read | RegionFlags.Write, 32), info);
        Assert.Equal(Errno.EINVAL, (await lab.Client.MapAsync(0)).Error.Errno);
        Assert.Equal(Errno.EIO, (await lab.Client.ReadAsync(0, 0, 4)).Error.Errno);
        await lab.WriteConfigAsync(ConfigOffset.Command, 2, (uint)PciCommand.IoSpace);
        Assert.Equal((1u << 5) | (1u << 16), await lab.ReadPortAsync(0, 4));
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal(Errno.EIO, (await lab.Client.ReadAsync(0, 0, 4)).Error.Errno);
    }

    [Fact]
    public async Task MSI_X_moves_the_devices_configuration_from_20_to_24_while_it_is_enabled_VD_VIR_2()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor);
        await lab.WriteConfigAsync(ConfigOffset.Command, 2, (uint)PciCommand.IoSpace);
        var mac = await lab.ReadPortAsync(20, 4);
        Assert.True((await lab.Client.SetTriggerAsync(IrqIndex.Msix, new SignalCounter())).IsOk);
        Assert.Equal((0xffffffffu, mac), (await lab.ReadPortAsync(20, 4), await lab.ReadPortAsync(24, 4)));
        Assert.IsType<DeviceIrqsSet>(await lab.AskAsync(new SetDeviceIrqs(
            lab.Client.Session, new SetIrqs((uint)IrqIndex.Msix, 0, 0, IrqSetFlags.ActionTrigger | IrqSetFlags.DataNone))));
        Assert.Equal(mac, await lab.ReadPortAsync(20, 4));
    }

    [Fact]
    public async Task A_closed_session_reaches_no_port_and_the_next_finds_BAR_0_as_at_first_LC_15()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor);
        await lab.WriteConfigAsync(ConfigOffset.Bar0, 4, 0xc000);
        await lab.WriteConfigAsync(ConfigOffset.Command, 2, (uint)PciCommand.IoSpace);
        var stale = lab.Client;
        Assert.True((await stale.CloseAsync()).IsOk);
        Assert.Equal(Errno.ENODEV, (await stale.ReadAsync(0, 0, 4)).Error.Errno);
        await lab.ReopenAsync(TestActor);
        Assert.Equal((1u, Errno.EIO), (await lab.ReadConfigAsync(ConfigOffset.Bar0, 4), (await lab.Client.ReadAsync(0, 0, 4)).Error.Errno));
        Assert.Equal(Errno.ENODEV, (await stale.ReadAsync(0, 0, 4)).Error.Errno);
    }

    [Fact]
    public async Task A_driver_that_failed_finds_the_legacy_ports_as_they_were()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor);
        await lab.WriteConfigAsync(ConfigOffset.Bar0, 4, 0xc000);
        await lab.WriteConfigAsync(ConfigOffset.Command, 2, (uint)PciCommand.IoSpace);
        lab.FailDriver();
        Assert.Equal((0xc001u, 1u << 5 | 1u << 16), (await lab.ReadConfigAsync(ConfigOffset.Bar0, 4), await lab.ReadPortAsync(0, 4)));
        Assert.Equal(Running, await lab.StateAsync());
    }

    // ---- Migration (VD-VIR-3) --------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(EmulatedModels.VirtioNet)]
    [InlineData(EmulatedModels.VirtioBlock)]
    public async Task A_device_moves_from_one_host_to_another_while_its_guest_works_on_VD_VIR_3(string model)
    {
        using var source = await VirtioLab.OpenAsync(Sys, TestActor, model);
        using var target = await VirtioLab.OpenAsync(Sys, TestActor, model);
        await source.WriteConfigAsync(ConfigOffset.Command, 2, (uint)PciCommand.BusMaster);
        await target.WriteConfigAsync(ConfigOffset.Command, 2, (uint)PciCommand.BusMaster);
        var memory = new HolderMemory(1 << 16);
        Assert.True((await source.Client.MapDmaAsync(0, memory)).IsOk);
        Assert.True((await target.Client.MapDmaAsync(0, memory)).IsOk);
        var space = new GuestMemory { Bytes = memory.Bytes };
        var guest = new VirtioGuest(source.Function, space);
        guest.SetUp();
        guest.Send();

        var saving = await source.EnterAsync(PreCopy);
        var stream = SerialMachine.ReadAll(saving).ToList();
        guest.Send();
        source.Time.Advance(TimeSpan.FromSeconds(1));
        stream.AddRange(SerialMachine.ReadAll(saving));
        guest.Send();
        await source.EnterAsync(PreCopyP2P);
        guest.Send();
        await source.EnterAsync(StopCopy);
        stream.AddRange(SerialMachine.ReadAll(saving));
        Assert.Equal(3, guest.Done);

        Assert.True((await target.EnterAsync(Resuming)).Write([.. stream]).IsOk);
        await target.EnterAsync(Running);
        Assert.Equal(4, guest.Done);
        Assert.True((await source.Client.CloseAsync()).IsOk);
    }

    [Fact]
    public async Task A_driver_that_failed_in_mid_migration_finds_its_device_lost_until_a_reset_and_leaves_no_object_MG_31()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor);
        var stream = await lab.EnterAsync(StopCopy);
        lab.FailDriver();
        Assert.Equal((Error, true, 0), (await lab.StateAsync(), lab.Function.IsStopped, lab.Function.Objects));
        Assert.Equal(Errno.ENODEV, stream.Read(new byte[1]).Error.Errno);
        Assert.Equal(Errno.EINVAL, (await lab.Client.SetMigrationStateAsync(Running)).Error.Errno);
        Assert.True((await lab.Client.ResetAsync()).IsOk);
        Assert.Equal((Running, false), (await lab.StateAsync(), lab.Function.IsStopped));
        await lab.EnterAsync(StopCopy);
    }

    [Fact]
    public async Task A_close_in_mid_migration_leaves_a_device_that_runs_for_the_next_holder_MG_1()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor);
        await lab.EnterAsync(StopCopy);
        Assert.True((await lab.Client.CloseAsync()).IsOk);
        await lab.ReopenAsync(TestActor);
        Assert.Equal((Running, false, 0), (await lab.StateAsync(), lab.Function.IsStopped, lab.Function.Objects));
    }

    [Fact]
    public async Task A_PF_whose_driver_has_gone_leaves_a_device_that_is_opened_and_does_not_migrate()
    {
        using var lab = await VirtioLab.OpenAsync(Sys, TestActor);
        lab.Physical.DetachDriver();
        Assert.True((await lab.Client.CloseAsync()).IsOk);
        await lab.ReopenAsync(TestActor);
        Assert.Equal((Running, Errno.ENOTCONN), (await lab.StateAsync(), (await lab.Client.SetMigrationStateAsync(Stop)).Error.Errno));
        lab.Physical.AttachDriver();
        await lab.EnterAsync(Stop);
    }

    private static Errno ErrnoOf(DeviceReply reply) => (reply as DeviceFailed)?.Error.Errno ?? Errno.None;
}
