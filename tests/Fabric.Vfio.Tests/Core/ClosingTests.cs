using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class ClosingTests
{
    private readonly CardFunction function = Card.Physical();
    private readonly VfioPciCore core;

    public ClosingTests() => core = Card.Open(function);

    [Fact]
    public void Closing_undoes_the_open_in_order_LC_31()
    {
        var events = new FakeSource();
        core.SetIoEventFd(new IoEvent(CardFunction.MemoryBar, 0, 4, 1), events);
        var region = new FakeRegion { OnRelease = () => function.Calls.Add("region released") };
        core.AddRegion(region);
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);
        function.Calls.Clear();

        core.Close();

        Assert.Equal(["dma off", "region released", "release 0", "release 2", "release 4", "release 5", "reset"], function.Calls);
        Assert.Equal(0, events.Listeners);
        Assert.Empty(function.Violations);
        core.Healthy();
    }

    [Fact]
    public void Closing_revokes_buffers_for_good_and_returns_their_references_LC_30_IO_92()
    {
        var buffer = core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
        Assert.Equal(2, core.References);

        core.Close();
        core.Open();

        Assert.True(buffer is { IsRevoked: true, IsDetached: true });
        Assert.Equal(1, core.References);
    }

    [Fact]
    public void Closing_drops_ERR_and_REQ_last_LC_30()
    {
        var (err, req) = (new FakeTarget(), new FakeTarget());
        core.SetTrigger(IrqIndex.Err, err);
        core.SetTrigger(IrqIndex.Req, req);
        core.Close();

        core.ErrorDetected();
        core.Request(0);

        Assert.Equal((0, 0), (err.Signals, req.Signals));
    }

    [Fact]
    public void Closing_takes_the_device_out_of_D3_and_out_of_low_power_without_a_wake_signal_LC_31()
    {
        var wake = new FakeTarget();
        core.WritePowerState(PciPowerState.D3Hot);
        core.EnterLowPower(wake);

        core.Close();

        Assert.Contains("reset", function.Calls);
        Assert.Equal(0, wake.Signals);
        Assert.Empty(function.Violations);
        core.Healthy();
    }

    [Fact]
    public void Closing_restores_the_config_space_of_the_open_LC_31()
    {
        core.Close();

        Assert.Equal(0xfeb0, function.Get16(ConfigOffset.Bar0 + 2));
        Assert.False(function.Has(PciCommand.BusMaster));
    }

    [Fact]
    public void A_contended_reset_at_close_leaves_the_device_in_need_of_one_LC_31()
    {
        function.OnReset = Errno.EAGAIN;

        core.Close();

        Assert.True(core.NeedsReset);
    }

    [Fact]
    public void A_device_that_is_dead_can_be_closed_LC_31()
    {
        core.EnterLowPower();
        function.IsStuck = true;

        core.Close();

        Assert.False(core.IsOpen);
        core.Healthy();
    }

    [Fact]
    public void A_closed_device_sleeps_LC_31()
    {
        core.Close();

        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
    }

    [Fact]
    public void A_region_of_a_driver_is_gone_with_the_session_INV_3()
    {
        core.AddRegion(new FakeRegion());
        core.Close();
        core.Open();

        Assert.Equal(RegionIndex.Count, core.GetInfo().Value.Regions);
    }
}

/// <summary>A region of a driver: 16 bytes that count upwards.</summary>
internal sealed class FakeRegion : IDeviceRegion
{
    public Action OnRelease { get; init; } = () => { };

    public byte[] Written { get; private set; } = [];

    public uint Type => 0x1234;

    public uint Subtype => 5;

    public ulong Size => 16;

    public RegionFlags Flags => RegionFlags.Read | RegionFlags.Write;

    public ImmutableArray<RegionCapability> Capabilities => [new RegionCapability.SparseMmap([new RegionArea(0, 8)])];

    public VfioResult<int> Read(ulong offset, Span<byte> destination)
    {
        if (offset >= Size)
            return new VfioError(Errno.EINVAL, "Past the end.");
        var length = (int)Math.Min((ulong)destination.Length, Size - offset);
        for (var i = 0; i < length; i++)
            destination[i] = (byte)(offset + (ulong)i);
        return length;
    }

    public VfioResult<int> Write(ulong offset, ReadOnlySpan<byte> source)
    {
        Written = source.ToArray();
        return source.Length;
    }

    public void Release() => OnRelease();
}
