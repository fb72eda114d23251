using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class LifecycleTests
{
    private static readonly VfioResult Contended = VfioResult.Fail(Errno.EAGAIN, "Somebody else is resetting.");

    private static readonly VfioResult Broken = VfioResult.Fail(Errno.EIO, "The reset did not work.");

    /// <summary>Everything that needs an open device.</summary>
    public static TheoryData<string> Requests() =>
        ["info", "region", "irq", "trigger", "reset", "read", "write", "read config", "map", "map dma", "unmap dma"];

    [Theory]
    [InlineData(0x01)]
    [InlineData(0x02)]
    [InlineData(0x81)]
    public void A_function_whose_header_is_not_type_0_is_refused_LC_3(int headerType)
    {
        var function = new FakeFunction();
        function.Put(ConfigOffset.HeaderType, (ushort)headerType);

        Assert.Equal(Errno.EINVAL, VfioPciCore.Register(function).Error.Errno);
    }

    [Fact]
    public void A_multi_function_type_0_header_is_taken_LC_3()
    {
        var function = new FakeFunction();
        function.Put(ConfigOffset.HeaderType, 0x80);

        Assert.True(VfioPciCore.Register(function).IsOk);
    }

    [Fact]
    public void Opening_stops_bus_mastering_then_resets_then_gives_DMA_its_space_LC_20()
    {
        var function = new FakeFunction();
        function.Put(ConfigOffset.Command, (ushort)PciCommand.BusMaster);

        OpenDevice.On(function);

        Assert.Equal(["bus-master off", "reset", "dma on"], function.Calls);
    }

    [Fact]
    public void Opening_a_physical_function_turns_its_memory_decode_on_and_keeps_it_over_the_reset_LC_24()
    {
        var function = new FakeFunction(isVirtual: false);

        OpenDevice.On(function);

        Assert.Equal(["memory on", "memory off", "reset", "memory on", "dma on"], function.Calls);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void After_opening_memory_decode_reads_on_and_bus_mastering_off_LC_24(bool isVirtual)
    {
        var core = OpenDevice.On(new FakeFunction(isVirtual));
        var command = new byte[2];

        core.Read(RegionIndex.Config, ConfigOffset.Command, command);

        Assert.Equal([(byte)PciCommand.MemorySpace, 0], command);
    }

    [Fact]
    public void Opening_an_open_device_is_EBUSY_and_does_nothing_to_it()
    {
        var function = new FakeFunction();
        var core = OpenDevice.On(function);
        function.Calls.Clear();

        Assert.Equal(Errno.EBUSY, core.Open().Error.Errno);
        Assert.Empty(function.Calls);
    }

    [Fact]
    public void A_contended_reset_fails_the_open_with_EAGAIN_LC_21()
    {
        var function = new FakeFunction { OnReset = () => Contended };
        var core = OpenDevice.Closed(function);

        Assert.Equal(Errno.EAGAIN, core.Open().Error.Errno);
        Assert.False(core.IsOpen);
    }

    [Fact]
    public void An_open_that_failed_leaves_DMA_cut_off_LC_21()
    {
        var function = new FakeFunction { OnReset = () => Contended };

        OpenDevice.Closed(function).Open();

        Assert.Null(function.Dma);
    }

    [Fact]
    public void A_contended_open_can_be_tried_again_LC_21()
    {
        var function = new FakeFunction { OnReset = () => Contended };
        var core = OpenDevice.Closed(function);
        core.Open();
        function.OnReset = () => VfioResult.Ok;

        Assert.True(core.Open().IsOk);
    }

    [Fact]
    public void A_reset_that_does_not_work_does_not_fail_the_open_LC_21()
    {
        var core = OpenDevice.Closed(new FakeFunction { OnReset = () => Broken });

        Assert.True(core.Open().IsOk);
        Assert.False(core.ResetWorks);
    }

    [Fact]
    public void A_device_that_does_not_reset_refuses_RESET_with_EINVAL_IO_50()
    {
        var function = new FakeFunction { OnReset = () => Broken };
        var core = OpenDevice.On(function);
        function.Calls.Clear();

        Assert.Equal(Errno.EINVAL, core.Reset().Error.Errno);
        Assert.Empty(function.Calls);
    }

    [Fact]
    public void A_contended_RESET_is_EAGAIN_and_the_callers_to_retry_IO_50()
    {
        var function = new FakeFunction();
        var core = OpenDevice.On(function);
        function.OnReset = () => Contended;

        Assert.Equal(Errno.EAGAIN, core.Reset().Error.Errno);
        Assert.True(core.IsOpen);
    }

    [Fact]
    public void RESET_restores_the_COMMAND_register_of_before_IO_51()
    {
        var function = new FakeFunction(isVirtual: false);
        var core = OpenDevice.On(function);
        core.Write(RegionIndex.Config, ConfigOffset.Command, [(byte)(PciCommand.MemorySpace | PciCommand.BusMaster), 0]);

        core.Reset();

        Assert.True(function.Has(PciCommand.BusMaster) && function.Has(PciCommand.MemorySpace));
    }

    [Fact]
    public void RESET_keeps_what_is_mapped_for_DMA()
    {
        var core = OpenDevice.New();
        core.MapDma(0, new FakeMemory(0x1000));

        core.Reset();

        Assert.Equal(1, core.DmaMappings);
    }

    [Fact]
    public void Closing_stops_bus_mastering_then_DMA_then_resets_LC_31()
    {
        var function = new FakeFunction();
        var core = OpenDevice.On(function);
        core.Write(RegionIndex.Config, ConfigOffset.Command, [(byte)PciCommand.BusMaster, 0]);
        function.Calls.Clear();

        core.Close();

        Assert.Equal(["bus-master off", "dma off", "reset"], function.Calls);
    }

    [Fact]
    public void Closing_a_physical_function_turns_its_memory_decode_off_even_where_no_reset_works_LC_31()
    {
        var function = new FakeFunction(isVirtual: false) { OnReset = () => Broken };
        var core = OpenDevice.On(function);

        core.Close();

        Assert.False(function.Has(PciCommand.MemorySpace));
    }

    [Fact]
    public void Closing_drops_what_was_mapped_for_DMA_INV_3()
    {
        var core = OpenDevice.New();
        core.MapDma(0, new FakeMemory(0x1000));

        core.Close();

        Assert.Equal(0, core.DmaMappings);
    }

    [Fact]
    public void Closing_a_closed_device_does_nothing()
    {
        var function = new FakeFunction();
        var core = OpenDevice.On(function);
        core.Close();
        function.Calls.Clear();

        core.Close();

        Assert.Empty(function.Calls);
    }

    [Fact]
    public void A_reset_that_works_at_close_leaves_nothing_to_be_reset_LC_31()
    {
        var core = OpenDevice.New();

        core.Close();

        Assert.False(core.NeedsReset);
    }

    [Fact]
    public void A_reset_that_fails_at_close_is_remembered_LC_31()
    {
        var function = new FakeFunction();
        var core = OpenDevice.On(function);
        function.OnReset = () => Broken;

        core.Close();

        Assert.True(core.NeedsReset);
    }

    [Fact]
    public void A_device_that_does_not_reset_is_not_reset_at_close_and_needs_it_LC_31()
    {
        var function = new FakeFunction { OnReset = () => Broken };
        var core = OpenDevice.On(function);
        function.Calls.Clear();

        core.Close();

        Assert.True(core.NeedsReset);
        Assert.DoesNotContain("reset", function.Calls);
    }

    [Fact]
    public void Closing_forgets_the_ERR_and_REQ_triggers_LC_30()
    {
        var core = OpenDevice.New();
        var (err, req) = (new FakeTarget(), new FakeTarget());
        core.SetTrigger(IrqIndex.Err, err);
        core.SetTrigger(IrqIndex.Req, req);
        core.Close();
        core.Open();

        core.ErrorDetected();
        core.Request(0);

        Assert.Equal((0, 0), (err.Signals, req.Signals));
    }

    [Fact]
    public void Config_writes_to_the_shadow_do_not_outlive_the_open_CF_4()
    {
        var core = OpenDevice.New();
        core.Write(RegionIndex.Config, ConfigOffset.InterruptLine, [0x0b]);
        core.Close();
        core.Open();
        var line = new byte[1];

        core.Read(RegionIndex.Config, ConfigOffset.InterruptLine, line);

        Assert.Equal([0], line);
    }

    [Fact]
    public void A_mapping_touches_nothing_once_its_session_is_closed_INV_3()
    {
        var function = new FakeFunction();
        var core = OpenDevice.On(function);
        var mapping = core.Map(0).Value;
        core.Close();
        core.Open();

        Assert.Equal(Errno.ENODEV, mapping.Write(0, [0xaa]).Error.Errno);
        Assert.NotEqual(0xaa, function.BarByte(0, 0));
        Assert.Equal(Errno.ENODEV, mapping.Read(0, new byte[1]).Error.Errno);
    }

    [Fact]
    public void A_mapping_of_the_new_session_works_where_one_of_the_old_session_does_not()
    {
        var core = OpenDevice.New();
        core.Map(0);
        core.Close();
        core.Open();

        Assert.True(core.Map(0).Value.Write(0, [0xaa]).IsOk);
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void A_device_that_was_never_opened_refuses_every_request_with_EINVAL_LC_14(string request) =>
        Assert.Equal(Errno.EINVAL, Ask(OpenDevice.Closed(new FakeFunction()), request));

    [Theory]
    [MemberData(nameof(Requests))]
    public void A_closed_device_refuses_every_request_with_EINVAL_LC_14(string request)
    {
        var core = OpenDevice.New();
        core.Close();

        Assert.Equal(Errno.EINVAL, Ask(core, request));
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void An_open_device_answers_every_request(string request)
    {
        var core = OpenDevice.New();
        core.MapDma(0, new FakeMemory(0x1000));

        Assert.Equal(Errno.None, Ask(core, request));
    }

    private static Errno Ask(VfioPciCore core, string request) => request switch
    {
        "info" => core.GetInfo().Error.Errno,
        "region" => core.GetRegionInfo(0).Error.Errno,
        "irq" => core.GetIrqInfo(0).Error.Errno,
        "trigger" => core.SetTrigger(IrqIndex.Err, new FakeTarget()).Error.Errno,
        "reset" => core.Reset().Error.Errno,
        "read" => core.Read(0, 0, new byte[4]).Error.Errno,
        "write" => core.Write(0, 0, new byte[4]).Error.Errno,
        "read config" => core.Read(RegionIndex.Config, 0, new byte[4]).Error.Errno,
        "map" => core.Map(0).Error.Errno,
        "map dma" => core.MapDma(0x10_0000, new FakeMemory(0x1000)).Error.Errno,
        _ => core.UnmapDma(0).Error.Errno,
    };
}
