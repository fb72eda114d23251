using System.Buffers.Binary;
using Akka.Actor;
using Akka.TestKit.Xunit;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Displays;
using Fabric.Hardware.Emulated.Mdev;
using Fabric.Hardware.Specs.Mbochs;
using Fabric.Hardware.Specs.Mdpy;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests.Displays;

/// <summary>The two mediated displays as their holder sees them (contract §8.4).</summary>
public sealed class DisplayDriverTests() : TestKit("akka { loglevel = OFF, log-dead-letters = off, log-dead-letters-during-shutdown = off }")
{
    private const int PlaneBytes = 64;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    // ---- mdpy ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task The_display_region_of_mdpy_is_its_framebuffer()
    {
        var display = await OpenAsync("mdpy", "mdpy-vga");

        var region = (await AskAsync<RegionInfoRead>(display, new GetRegionInfo(display.Session, MdpyRegion.Display))).Info;
        Assert.Equal((MdpyRegion.Display, 2UL << 20), (region.Index, region.Size));
        Assert.Equal(RegionFlags.Read | RegionFlags.Write | RegionFlags.Mmap, region.Flags);
        Assert.True((await display.Client.WriteAsync(MdpyRegion.Display, 8, new byte[] { 1, 2 })).IsOk);
        Assert.Equal([1, 2], (await display.Client.ReadAsync(MdpyRegion.Framebuffer, 8, 2)).Value.ToArray());
        var mapped = new byte[2];
        Assert.True((await display.Client.MapAsync(MdpyRegion.Display)).Value.Read(8, mapped).IsOk);
        Assert.Equal([1, 2], mapped);
    }

    [Fact]
    public async Task It_is_seen_before_its_guest_turns_memory_on_and_after()
    {
        var display = await OpenAsync("mdpy", "mdpy-vga");
        foreach (var command in (byte[])[0, (byte)PciCommand.MemorySpace, 0])
        {
            Assert.True((await display.Client.WriteAsync(RegionIndex.Config, ConfigOffset.Command, new[] { command })).IsOk);
            Assert.True((await display.Client.ReadAsync(MdpyRegion.Display, 0, 4)).IsOk);
        }
    }

    [Theory]
    [InlineData("mdpy-vga", 640, 480)]
    [InlineData("mdpy-xga", 1024, 768)]
    [InlineData("mdpy-hd", 1920, 1080)]
    public async Task Its_plane_is_told_in_the_region_flavour(string type, int width, int height)
    {
        var display = await OpenAsync("mdpy", type);

        var probed = await QueryAsync(display, GfxPlane.Probe | GfxPlane.Region);
        var told = Assert.IsType<DeviceIoctlDone>(await QueryAsync(display, GfxPlane.Region));
        var plane = VfioDeviceGfxPlaneInfo.DecodeReply(told.Argument.Span).Value;

        Assert.Equal(0, Assert.IsType<DeviceIoctlDone>(probed).Value);
        Assert.Equal(
            (MdpyCapability.Xrgb8888, (uint)width, (uint)height, 4 * (uint)width, (uint)MdpyRegion.Display),
            (plane.DrmFormat, plane.Width, plane.Height, plane.Stride, plane.RegionIndex));
        Assert.Equal((await AskAsync<RegionInfoRead>(display, new GetRegionInfo(display.Session, MdpyRegion.Display))).Info.Size, plane.Size);
    }

    [Theory]
    [InlineData(GfxPlane.DmaBuf, PlaneBytes)]
    [InlineData(GfxPlane.Probe | GfxPlane.DmaBuf, PlaneBytes)]
    [InlineData(GfxPlane.Probe, PlaneBytes)]
    [InlineData(0, PlaneBytes)]
    [InlineData(GfxPlane.Region | 8, PlaneBytes)]
    [InlineData(GfxPlane.Region, PlaneBytes - 8)]
    public async Task Another_flavour_and_too_short_a_structure_are_EINVAL(uint flags, uint argsz)
    {
        var display = await OpenAsync("mdpy", "mdpy-vga");

        Assert.Equal(Errno.EINVAL, Refusal(await QueryAsync(display, flags, argsz)));
    }

    [Fact]
    public async Task A_plane_of_a_session_that_is_over_is_not_told()
    {
        var display = await OpenAsync("mdpy", "mdpy-vga");
        await display.Client.CloseAsync();

        Assert.Equal(Errno.ENODEV, Refusal(await QueryAsync(display, GfxPlane.Region)));
    }

    [Theory]
    [InlineData("mdpy", "mdpy-vga")]
    [InlineData("mbochs", "mbochs-small")]
    public async Task It_has_no_interrupts_and_SET_IRQS_is_EINVAL(string parent, string type)
    {
        var display = await OpenAsync(parent, type);
        for (var index = IrqIndex.Intx; index <= IrqIndex.Req; index++)
        {
            Assert.Equal(0, (await AskAsync<IrqInfoRead>(display, new GetIrqInfo(display.Session, (int)index))).Info.Count);
            Assert.Equal(Errno.EINVAL, (await display.Client.SetTriggerAsync(index, null)).Error.Errno);
        }

        Assert.Equal(Errno.EINVAL, Refusal(await AskAsync<DeviceReply>(display, new GetIrqInfo(display.Session, (int)IrqIndex.Req + 1))));
    }

    // ---- mbochs ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task The_EDID_region_of_mbochs_is_one_more_than_the_core_has()
    {
        var display = await OpenAsync("mbochs", "mbochs-medium");

        var device = (await AskAsync<DeviceInfoRead>(display, new GetDeviceInfo(display.Session))).Info;
        var edid = (await AskAsync<RegionInfoRead>(display, new GetRegionInfo(display.Session, MbochsRegion.Edid))).Info;

        Assert.Equal(MbochsRegion.Edid + 1, device.Regions);
        Assert.Equal((MbochsRegion.Edid, RegionFlags.Read | RegionFlags.Write | RegionFlags.Caps), (edid.Index, edid.Flags));
        Assert.Equal(new RegionCapability.OfType(1, 1), Assert.Single(edid.Caps));
        Assert.Equal(Errno.EINVAL, (await display.Client.MapAsync(MbochsRegion.Edid)).Error.Errno);
        Assert.Equal(Errno.EINVAL, Refusal(await AskAsync<DeviceReply>(display, new GetRegionInfo(display.Session, MbochsRegion.Edid + 1))));
    }

    [Fact]
    public async Task What_the_holder_says_of_the_monitor_the_guest_reads_in_its_registers()
    {
        var display = await OpenAsync("mbochs", "mbochs-medium");
        var head = (await display.Client.ReadAsync(MbochsRegion.Edid, 0, MbochsEdid.HeadBytes)).Value.ToArray();
        Assert.True(VfioRegionGfxEdid.TryRead(head, out var edid));
        Assert.Equal((1920u, 1440u, 0u), (edid.MaxXres, edid.MaxYres, edid.EdidSize));

        await display.Client.WriteAsync(MbochsRegion.Edid, edid.EdidOffset, new byte[] { 0, 0xff, 0xff });
        await display.Client.WriteAsync(MbochsRegion.Edid, MbochsEdid.Size, BitConverter.GetBytes(3));
        await display.Client.WriteAsync(MbochsRegion.Edid, MbochsEdid.LinkState, BitConverter.GetBytes(MbochsEdid.LinkUp));

        Assert.Equal([0, 0xff, 0xff, 0], (await display.Client.ReadAsync(MbochsRegion.Registers, MbochsRegisters.Edid, 4)).Value.ToArray());
    }

    [Fact]
    public async Task The_BAR_behind_the_EDID_region_is_the_hosts()
    {
        var display = await OpenAsync("mbochs", "mbochs-small");

        Assert.Equal(0UL, (await AskAsync<RegionInfoRead>(display, new GetRegionInfo(display.Session, MbochsRegion.Monitor))).Info.Size);
        Assert.Equal(Errno.EINVAL, (await display.Client.ReadAsync(MbochsRegion.Monitor, 0, 4)).Error.Errno);
        Assert.Equal(Errno.EINVAL, (await display.Client.WriteAsync(MbochsRegion.Monitor, 0, new byte[4])).Error.Errno);
        Assert.Equal(Errno.EINVAL, (await display.Client.MapAsync(MbochsRegion.Monitor)).Error.Errno);
    }

    [Fact]
    public async Task Planes_as_DMA_buffers_it_has_not()
    {
        var display = await OpenAsync("mbochs", "mbochs-small");

        Assert.Equal(Errno.ENOTTY, Refusal(await QueryAsync(display, GfxPlane.DmaBuf)));
    }

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    private sealed record Display(IActorRef Front, DeviceClient Client)
    {
        public SessionId Session => Client.Session;
    }

    private async Task<Display> OpenAsync(string parent, string type)
    {
        var function = EmulatedMdevParents.Create(parent).Create(type, Guid.NewGuid(), new PciAddress(0xfabd, 1, 0, 0)).Value;
        var catalog = new DriverCatalog(MdpyDriver.Registration, MbochsDriver.Registration);
        var host = Sys.ActorOf(HostActor.Props(new HostOptions(new OneFunctionBus(function), catalog, [], _ => null, new FakeTimeProvider())));
        var found = await host.Ask<DeviceFound>(new FindDevice(function.Address), Patience, TestContext.Current.CancellationToken);
        Assert.Equal(parent, found.Status.Driver);
        return new Display(found.Front, (await DeviceClient.OpenAsync(found.Front, "the test", TestActor)).Value);
    }

    private static Task<DeviceReply> QueryAsync(Display display, uint flags, uint argsz = PlaneBytes)
    {
        var argument = new byte[PlaneBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(argument, argsz);
        BinaryPrimitives.WriteUInt32LittleEndian(argument.AsSpan(4), flags);
        return AskAsync<DeviceReply>(display, new DeviceIoctl(display.Session, DeviceIoctls.QueryGfxPlane, argument));
    }

    private static Errno Refusal(DeviceReply reply) => Assert.IsType<DeviceFailed>(reply).Error.Errno;

    private static async Task<T> AskAsync<T>(Display display, DeviceRequest request)
        where T : DeviceReply =>
        Assert.IsAssignableFrom<T>(await display.Front.Ask<DeviceReply>(request, Patience, TestContext.Current.CancellationToken));
}
