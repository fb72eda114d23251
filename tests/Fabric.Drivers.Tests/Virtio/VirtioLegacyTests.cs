using System.Buffers.Binary;
using CsCheck;
using Fabric.Drivers.Virtio;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Tests.Virtio;

/// <summary>What a legacy guest sees of a modern VF (VD-VIR-2), without an actor and without a place for notifications.</summary>
public sealed class VirtioLegacyTests : IDisposable
{
    private readonly VirtioMachine net = new();
    private readonly VirtioLegacyIo ports;

    public VirtioLegacyTests()
    {
        ports = new VirtioLegacyIo(net.Function.Ids, net.Commands, notifyAt: 0);
        ports.Take(ConfigOffset.Command, [(byte)PciCommand.IoSpace, 0]);
        net.Channel.Commands.Clear();
    }

    public void Dispose() => net.Dispose();

    [Theory]
    [InlineData(EmulatedModels.VirtioNet, 0x1000, 1)]
    [InlineData(EmulatedModels.VirtioBlock, 0x1001, 2)]
    public void Config_space_is_that_of_a_transitional_device_VD_VIR_2(string model, int device, int type)
    {
        using var machine = new VirtioMachine(model);
        var header = Header(new VirtioLegacyIo(machine.Function.Ids, machine.Commands, 0), fill: 0xff);
        Assert.Equal((device, 0), (BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(ConfigOffset.DeviceId)), header[ConfigOffset.Revision]));
        Assert.Equal((0x1af4, type), (
            BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(ConfigOffset.SubsystemVendorId)),
            BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(ConfigOffset.SubsystemId))));
        Assert.Equal(1u, BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(ConfigOffset.Bar0)));
    }

    [Fact]
    public void BAR_0_sizes_as_32_bytes_of_IO_space_and_keeps_its_address_over_a_reset_VD_VIR_2()
    {
        ports.Take(ConfigOffset.Bar0, [0xff, 0xff, 0xff, 0xff]);
        Assert.Equal(0xffff_ffe1, BinaryPrimitives.ReadUInt32LittleEndian(Header(ports).AsSpan(ConfigOffset.Bar0)));
        ports.Take(ConfigOffset.Bar0 + 1, [0xc0]);
        ports.Take(ConfigOffset.Bar0 + 2, [0, 0]);
        ports.Reset();
        Assert.Equal(0xc0e1u, BinaryPrimitives.ReadUInt32LittleEndian(Header(ports).AsSpan(ConfigOffset.Bar0)));
        ports.Clear();
        Assert.Equal(1u, BinaryPrimitives.ReadUInt32LittleEndian(Header(ports).AsSpan(ConfigOffset.Bar0)));
    }

    [Fact]
    public void IO_decode_reads_back_as_it_was_written_over_what_the_core_has_VD_VIR_2()
    {
        Assert.Equal(1, Header(ports)[ConfigOffset.Command]);
        ports.Take(ConfigOffset.Command, [(byte)PciCommand.BusMaster, 0]);
        Assert.Equal(0, Header(ports)[ConfigOffset.Command]);
    }

    /// <summary>However a read is cut, each byte is what it is in a read of the whole; what is not shown over stays the core's.</summary>
    [Fact]
    public void A_read_of_any_part_of_config_space_shows_that_part_VD_VIR_2()
    {
        var whole = new byte[ConfigOffset.ConventionalSize];
        for (var at = 0; at < whole.Length; at++)
            whole[at] = (byte)(at | 0x80);
        var core = whole.ToArray();
        ports.Show(0, whole);
        Assert.Equal(core[64..], whole[64..]);
        Gen.Select(Gen.Int[0, 70], Gen.Int[1, 70]).Sample((offset, length) =>
        {
            var part = core.AsSpan(offset, length).ToArray();
            ports.Show((ulong)offset, part);
            Assert.Equal(whole[offset..(offset + length)], part);
        });
    }

    [Theory]
    [InlineData(19, false, VirtioOpcode.ReadLegacyCommon)]
    [InlineData(20, false, VirtioOpcode.ReadLegacyDevice)]
    [InlineData(23, true, VirtioOpcode.ReadLegacyCommon)]
    [InlineData(24, true, VirtioOpcode.ReadLegacyDevice)]
    public void Ports_below_20_or_with_MSI_X_24_are_common_configuration_and_the_rest_the_devices_VD_VIR_2(
        int offset, bool msix, VirtioOpcode opcode)
    {
        Assert.True(ports.Read((ulong)offset, new byte[1], msix).IsOk);
        Assert.Equal([opcode], net.Channel.Commands);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_devices_configuration_begins_at_its_start_VD_VIR_2(bool msix)
    {
        var (mac, expected) = (new byte[6], new byte[6]);
        Assert.True(net.Function.ReadRegion(VirtioBar.Modern, VirtioBar.Device, expected).IsOk);
        Assert.True(ports.Read((ulong)VirtioLegacy.DeviceConfigAt(msix), mac, msix).IsOk);
        Assert.Equal(expected, mac);
    }

    [Fact]
    public void Without_IO_decode_every_port_is_EIO_and_no_command_is_given_VD_VIR_2()
    {
        ports.Reset();
        Assert.Equal(Errno.EIO, ports.Read(0, new byte[4], false).Error.Errno);
        Assert.Equal(Errno.EIO, ports.Write(VirtioLegacy.Status, [1], false).Error.Errno);
        Assert.Empty(net.Channel.Commands);
    }

    [Theory]
    [InlineData(29, 4)]
    [InlineData(32, 1)]
    [InlineData(0, 33)]
    public void An_access_past_the_32_ports_is_EINVAL_VD_VIR_2(int offset, int length)
    {
        Assert.Equal(Errno.EINVAL, ports.Read((ulong)offset, new byte[length], false).Error.Errno);
        Assert.Equal(Errno.EINVAL, ports.Write((ulong)offset, new byte[length], false).Error.Errno);
        Assert.Equal(Errno.EINVAL, ports.Read(ulong.MaxValue, new byte[1], false).Error.Errno);
        Assert.Empty(net.Channel.Commands);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void The_notify_register_is_accessed_whole_or_it_is_EINVAL_VD_VIR_2(int length)
    {
        Assert.Equal(Errno.EINVAL, ports.Read(VirtioLegacy.QueueNotify, new byte[length], false).Error.Errno);
        Assert.Equal(Errno.EINVAL, ports.Write(VirtioLegacy.QueueNotify, new byte[length], false).Error.Errno);
    }

    [Fact]
    public void What_the_device_refuses_is_its_errno()
    {
        net.Function.Refuses = (VirtioOpcode.WriteLegacyCommon, Errno.EAGAIN);
        Assert.Equal(Errno.EAGAIN, ports.Write(VirtioLegacy.Status, [1], false).Error.Errno);
        net.Physical.DetachDriver();
        Assert.Equal(Errno.ENOTCONN, ports.Read(0, new byte[4], false).Error.Errno);
    }

    /// <summary>Both interfaces are of one device: what a legacy driver sets up is served, and moves.</summary>
    [Fact]
    public void A_legacy_guest_sets_its_queue_up_is_served_and_moves_with_it_VD_VIR_2_VD_VIR_3()
    {
        using var target = new VirtioMachine(memory: net.Memory);
        Write(VirtioLegacy.Status, 1, 3);
        Write(VirtioLegacy.QueueSelect, 2, 1);
        Write(VirtioLegacy.QueuePage, 4, 1);
        Write(VirtioLegacy.Status, 1, 7);
        Assert.Equal((1u, 256u), (Read(VirtioLegacy.QueuePage, 4), Read(VirtioLegacy.QueueSize, 2)));
        MakeAvailable();
        Write(VirtioLegacy.QueueNotify, 2, 1);
        Assert.Equal((1, 1u, 0u), (Used(), Read(VirtioLegacy.Interrupt, 1), Read(VirtioLegacy.Interrupt, 1)));

        var stream = net.Save();
        Assert.True(target.Enter(Vfio.Migration.MigrationState.Resuming).Write(stream).IsOk);
        target.Enter(Vfio.Migration.MigrationState.Running);
        MakeAvailable();
        target.Function.WriteRegion(VirtioBar.Modern, VirtioBar.Notify, [1, 0]);
        Assert.Equal(2, Used());
    }

    private int Used() => BinaryPrimitives.ReadUInt16LittleEndian(net.Memory.Bytes.AsSpan(0x3000 + 2));

    /// <summary>A queue of 256 at page 1: descriptors at 0x1000, available at 0x2000, used at 0x3000.</summary>
    private void MakeAvailable()
    {
        var index = net.Memory.Bytes.AsSpan(0x2000 + 2);
        BinaryPrimitives.WriteUInt16LittleEndian(index, (ushort)(BinaryPrimitives.ReadUInt16LittleEndian(index) + 1));
    }

    private void Write(int port, int length, uint value) =>
        Assert.True(ports.Write((ulong)port, BitConverter.GetBytes(value).AsSpan(0, length), msixEnabled: false).IsOk);

    private uint Read(int port, int length)
    {
        var value = new byte[4];
        Assert.True(ports.Read((ulong)port, value.AsSpan(0, length), msixEnabled: false).IsOk);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }

    private static byte[] Header(VirtioLegacyIo ports, byte fill = 0)
    {
        var header = new byte[64];
        header.AsSpan().Fill(fill);
        ports.Show(0, header);
        return header;
    }
}
