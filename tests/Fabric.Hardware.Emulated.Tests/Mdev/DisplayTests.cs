using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Mdev;
using Fabric.Hardware.Specs.Mbochs;
using Fabric.Hardware.Specs.Mdpy;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests.Mdev;

/// <summary>The two displays at their registers, as a driver of theirs finds them.</summary>
public sealed class DisplayTests
{
    private const ulong MonitorBlob = MbochsEdid.Blob;

    private readonly MdpyFunction vga = new(new PciAddress(0xfabd, 0, 0, 0), 640, 480);
    private readonly MbochsFunction bochs = new(new PciAddress(0xfabd, 0, 0, 1), 4, 800, 600);

    // ---- mdpy ------------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("mdpy-vga", 640, 480, 2 << 20)]
    [InlineData("mdpy-xga", 1024, 768, 4 << 20)]
    [InlineData("mdpy-hd", 1920, 1080, 8 << 20)]
    public void A_framebuffer_says_in_its_capability_what_is_in_its_bar(string type, int width, int height, int bytes)
    {
        var display = EmulatedMdevParents.Create("mdpy").Create(type, Guid.NewGuid(), default).Value;
        var config = new byte[256];
        display.ReadConfig(0, config);

        Assert.Contains(
            CapabilityWalk.Standard(config), static entry => entry is (StandardCapability.VendorSpecific, MdpyCapability.Offset));
        Assert.Equal(
            (MdpyCapability.Xrgb8888, (uint)width, (uint)height),
            (Config(display, MdpyCapability.Format), Config(display, MdpyCapability.Width), Config(display, MdpyCapability.Height)));
        Assert.Equal((ulong)bytes, display.Bars[MdpyRegion.Framebuffer].Size);
        Assert.True(display.ReadRegion(MdpyRegion.Framebuffer, (ulong)bytes - 4, new byte[4]).IsOk);
    }

    [Fact]
    public void Pixels_are_what_was_written_until_a_reset_paints_them()
    {
        const ulong MiddleRow = 240 * 640 * 4;
        Assert.Equal([127, 127, 127, 127], Read(vga, 0, MiddleRow, 4));
        Assert.Equal([0, 0], Read(vga, 0, 0, 2));

        Write(vga, 0, MiddleRow, 1, 2, 3, 4);
        Assert.Equal([1, 2, 3, 4], Read(vga, 0, MiddleRow, 4));
        Assert.True(vga.Reset(ResetMethod.DeviceSpecific).IsOk);

        Assert.Equal([127, 127, 127, 127], Read(vga, 0, MiddleRow, 4));
    }

    [Fact]
    public void Memory_of_a_mediated_display_answers_whatever_COMMAND_says_CF_13()
    {
        foreach (var display in (IPciFunction[])[vga, bochs])
        {
            display.WriteConfig(ConfigOffset.Command, [0, 0]);
            Assert.True(display.ReadRegion(0, 0, new byte[4]).IsOk);
            Assert.NotEqual(FunctionTraits.None, display.Traits & FunctionTraits.NoMemoryEnable);
        }
    }

    // ---- mbochs ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Its_registers_say_what_it_is_and_take_a_mode()
    {
        Assert.Equal((Dispi.Version5, 64), (Register(DispiIndex.Id), Register(DispiIndex.VideoMemory)));

        SetRegister(DispiIndex.Width, 800);
        SetRegister(DispiIndex.Id, 1);
        SetRegister(DispiIndex.VideoMemory, 1);

        Assert.Equal((800, Dispi.Version5, 64), (Register(DispiIndex.Width), Register(DispiIndex.Id), Register(DispiIndex.VideoMemory)));
    }

    [Theory]
    [InlineData(MbochsRegisters.Dispi + 2, 4)]
    [InlineData(MbochsRegisters.Dispi + 3, 2)]
    [InlineData(MbochsRegisters.Dispi + 22, 2)]
    [InlineData(0x400, 2)]
    public void Accesses_that_are_no_register_read_0_and_write_nothing(int offset, int length)
    {
        SetRegister(DispiIndex.Width, 0x1234);

        Write(bochs, MbochsRegion.Registers, (ulong)offset, [.. Enumerable.Repeat((byte)0xff, length)]);

        Assert.Equal(new byte[length], Read(bochs, MbochsRegion.Registers, (ulong)offset, length));
        Assert.Equal(0x1234, Register(DispiIndex.Width));
        Assert.Equal(0, Register(DispiIndex.Height));
    }

    [Fact]
    public void A_reset_takes_the_mode_and_leaves_video_RAM_and_the_monitor()
    {
        SetRegister(DispiIndex.Enable, 1);
        Write(bochs, 0, (4 << 20) - 2, 7, 8);
        Connect(0xaa, 0xbb);

        Assert.True(bochs.Reset(ResetMethod.DeviceSpecific).IsOk);

        Assert.Equal((0, Dispi.Version5), (Register(DispiIndex.Enable), Register(DispiIndex.Id)));
        Assert.Equal([7, 8], Read(bochs, 0, (4 << 20) - 2, 2));
        Assert.Equal([0xaa, 0xbb], Read(bochs, MbochsRegion.Registers, MbochsRegisters.Edid, 2));
    }

    [Fact]
    public void Video_RAM_is_one_piece_whatever_it_is_made_of()
    {
        var written = Enumerable.Range(0, 200_000).Select(at => (byte)(at * 7)).ToArray();
        Write(bochs, 0, 65_000, written);

        Assert.Equal([0, .. written, 0], Read(bochs, 0, 64_999, written.Length + 2));
    }

    [Fact]
    public void The_host_connects_a_monitor_and_the_guest_reads_its_EDID()
    {
        Assert.Equal(new byte[4], Read(bochs, MbochsRegion.Registers, MbochsRegisters.Edid, 4));

        Connect(1, 2, 3);

        Assert.Equal([2, 3, 0, 0], Read(bochs, MbochsRegion.Registers, MbochsRegisters.Edid + 1, 4));
        Assert.Equal(new byte[4], Read(bochs, MbochsRegion.Registers, MbochsRegisters.Edid + 3, 4));
        SetMonitor(MbochsEdid.LinkState, 2);
        Assert.Equal(new byte[4], Read(bochs, MbochsRegion.Registers, MbochsRegisters.Edid, 4));
    }

    [Fact]
    public void The_head_of_the_monitor_says_its_limits_which_cannot_be_written()
    {
        foreach (var at in (int[])[MbochsEdid.BlobOffset, MbochsEdid.MostBytes, MbochsEdid.MostColumns, MbochsEdid.MostRows])
            SetMonitor(at, 77);
        SetMonitor(MbochsEdid.Size, 1 << 20);

        Assert.Equal(
            [MbochsEdid.Blob, MbochsEdid.BlobBytes, MbochsEdid.BlobBytes, 800, 600, 0],
            Read(bochs, MbochsRegion.Monitor, 0, MbochsEdid.HeadBytes).Chunk(4).Select(field => BinaryPrimitives.ReadInt32LittleEndian(field)));
    }

    private void Connect(params byte[] edid)
    {
        Write(bochs, MbochsRegion.Monitor, MonitorBlob, edid);
        SetMonitor(MbochsEdid.Size, edid.Length);
        SetMonitor(MbochsEdid.LinkState, (int)MbochsEdid.LinkUp);
    }

    private void SetMonitor(int at, int value) => Write(bochs, MbochsRegion.Monitor, (ulong)at, BitConverter.GetBytes(value));

    private int Register(DispiIndex index) =>
        BinaryPrimitives.ReadUInt16LittleEndian(Read(bochs, MbochsRegion.Registers, (ulong)(MbochsRegisters.Dispi + (2 * (int)index)), 2));

    private void SetRegister(DispiIndex index, ushort value) =>
        Write(bochs, MbochsRegion.Registers, (ulong)(MbochsRegisters.Dispi + (2 * (int)index)), (byte)value, (byte)(value >> 8));

    private static uint Config(IPciFunction function, int offset)
    {
        var dword = new byte[4];
        function.ReadConfig(offset, dword);
        return BinaryPrimitives.ReadUInt32LittleEndian(dword);
    }

    private static byte[] Read(IPciFunction function, int bar, ulong offset, int length)
    {
        var bytes = new byte[length];
        Assert.True(function.ReadRegion(bar, offset, bytes).IsOk);
        return bytes;
    }

    private static void Write(IPciFunction function, int bar, ulong offset, params byte[] bytes) =>
        Assert.True(function.WriteRegion(bar, offset, bytes).IsOk);
}
