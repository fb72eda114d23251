using Fabric.Hardware.Emulated.Mtty;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests.Mtty;

/// <summary>The card around its ports: config space, BARs, reset, and the ports of a host.</summary>
public sealed class CardTests
{
    private static readonly PciAddress Address = new(0xfab0, 9, 0, 0);

    [Fact]
    public void It_has_the_ids_of_the_kernels_sample()
    {
        using var bench = new SerialBench();
        Assert.Equal(0x3253_4348u, bench.Config32(ConfigOffset.VendorId));
        Assert.Equal(0x3253_4348u, bench.Config32(ConfigOffset.SubsystemVendorId));
        Assert.Equal(0x0700_0210u, bench.Config32(ConfigOffset.Revision));
        Assert.Equal(1, bench.Config16(ConfigOffset.InterruptPin) & 0xff);
        Assert.Equal(new PciIds(0x4348, 0x3253, 0x4348, 0x3253, 0x070002), bench.Card.Ids);
    }

    [Theory]
    [InlineData(2, 0, 0xffff_fff9)]
    [InlineData(2, 1, 0xffff_fff9)]
    [InlineData(1, 1, 0)]
    [InlineData(2, 2, 0xffff_f000)]
    [InlineData(2, 3, 0)]
    [InlineData(2, 5, 0)]
    public void A_bar_is_sized_by_writing_ones(int ports, int bar, uint expected)
    {
        using var bench = new SerialBench(ports);
        bench.SetConfig32(ConfigOffset.Bar0 + (4 * bar), uint.MaxValue);
        Assert.Equal(expected, bench.Config32(ConfigOffset.Bar0 + (4 * bar)));
        var size = bench.Card.Bars[bar].Size;
        var address = bench.Card.Bars[bar].Kind == BarKind.Io ? BarBits.IoAddress : BarBits.MemoryAddress;
        Assert.Equal(size, expected == 0 ? 0 : ~(expected & address) + 1UL);
    }

    [Fact]
    public void A_bar_keeps_its_address_and_its_type()
    {
        using var bench = new SerialBench();
        bench.SetConfig32(ConfigOffset.Bar0, 0xc050);
        Assert.Equal(0xc051u, bench.Config32(ConfigOffset.Bar0));
    }

    [Fact]
    public void What_is_read_only_stays()
    {
        using var bench = new SerialBench();
        var before = new byte[ConfigOffset.ConventionalSize];
        bench.Card.ReadConfig(0, before);
        int[] registers =
        [
            ConfigOffset.VendorId, ConfigOffset.Status, ConfigOffset.Revision, ConfigOffset.SubsystemVendorId, ConfigOffset.CapabilitiesPointer,
        ];
        foreach (var offset in registers)
            bench.SetConfig16(offset, 0xffff);
        var after = new byte[ConfigOffset.ConventionalSize];
        bench.Card.ReadConfig(0, after);
        Assert.Equal(before, after);
    }

    [Fact]
    public void Command_has_the_bits_that_the_card_heeds()
    {
        using var bench = new SerialBench(command: (PciCommand)0xffff);
        Assert.Equal(PciCommand.IoSpace | PciCommand.BusMaster | PciCommand.InterruptDisable, bench.Command);
    }

    [Fact]
    public void It_has_MSI_with_one_vector()
    {
        using var bench = new SerialBench();
        var config = new byte[ConfigOffset.ConventionalSize];
        bench.Card.ReadConfig(0, config);
        Assert.Equal([StandardCapability.Msi], CapabilityWalk.Standard(config).Select(entry => entry.Id));
        Assert.Equal(new MsiCapability(SerialBench.Msi, 1, Is64Bit: false, HasMask: false), MsiCapability.Parse(config, SerialBench.Msi));
    }

    [Fact]
    public void Ports_do_not_answer_while_IO_decode_is_off()
    {
        using var bench = new SerialBench(command: PciCommand.None);
        bench[UartRegister.Scratch] = 5;
        Assert.Equal(0xff, bench[UartRegister.Scratch]);
        bench.Command = PciCommand.IoSpace;
        Assert.Equal(0, bench[UartRegister.Scratch]);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 3)]
    [InlineData(2, 5)]
    public void A_bar_that_is_not_there_is_an_error(int ports, int bar)
    {
        using var bench = new SerialBench(ports);
        Assert.Equal(Errno.EIO, bench.Card.ReadRegion(bar, 0, new byte[1]).Error.Errno);
        Assert.Equal(Errno.EIO, bench.Card.WriteRegion(bar, 0, new byte[1]).Error.Errno);
    }

    [Fact]
    public void A_reset_is_power_on_again()
    {
        using var bench = new SerialBench();
        var (config, state) = (new byte[ConfigOffset.ConventionalSize], bench.SaveState());
        using var fresh = new SerialBench(command: PciCommand.None);
        fresh.Card.ReadConfig(0, config);
        bench.WithFifos(UartFifoControl.Trigger8, UartInterruptEnable.All).Send(1, 2, 3);
        bench.SetConfig32(ConfigOffset.Bar0, 0xc000);
        bench.ConnectLine();
        bench.Execute(MttyCommand.Suspend);

        Assert.True(bench.Card.Reset(ResetMethod.DeviceSpecific).IsOk);
        var after = new byte[config.Length];
        bench.Card.ReadConfig(0, after);
        Assert.Equal(state, bench.SaveState());
        Assert.Equal(config, after);
        Assert.Equal(MttyStatus.None, bench.Status);
    }

    [Fact]
    public void A_reset_that_it_has_not_is_refused()
    {
        using var bench = new SerialBench();
        Assert.Equal(Errno.ENOTTY, bench.Card.Reset(ResetMethod.FunctionLevel).Error.Errno);
    }

    [Fact]
    public void All_cards_of_a_host_share_24_ports()
    {
        var pool = new MttyPortPool();
        var cards = Enumerable.Range(0, 11).Select(_ => MttyFunction.Create(Address, 2, pool).Value).ToList();
        cards.Add(MttyFunction.Create(Address, 1, pool).Value);
        Assert.Equal(Errno.ENOSPC, MttyFunction.Create(Address, 2, pool).Error.Errno);
        Assert.Equal(1, pool.Free);

        cards[0].Dispose();
        cards[0].Dispose();
        Assert.Equal(3, pool.Free);
        Assert.True(MttyFunction.Create(Address, 2, pool).IsOk);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(-1)]
    public void A_card_has_one_port_or_two(int ports)
    {
        var pool = new MttyPortPool();
        Assert.Equal((Errno.EINVAL, MttyPortPool.Ports), (MttyFunction.Create(Address, ports, pool).Error.Errno, pool.Free));
    }
}
