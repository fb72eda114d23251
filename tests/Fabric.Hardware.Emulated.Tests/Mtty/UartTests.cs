using Fabric.Hardware.Specs.Mtty;
using static Fabric.Hardware.Specs.Mtty.UartFifoControl;

namespace Fabric.Hardware.Emulated.Tests.Mtty;

/// <summary>The 16550A, register by register.</summary>
public sealed class UartTests
{
    private const UartLineStatus Idle = UartLineStatus.HoldingEmpty | UartLineStatus.TransmitterEmpty;
    private const byte Latch = (byte)UartLineControl.DivisorLatch;

    // ---- Data and divisor ------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData((byte)UartModemControl.None)]
    [InlineData((byte)UartModemControl.Loop)]
    public void What_is_sent_is_received_in_order_with_Loop_and_without(byte modemControl)
    {
        using var bench = new SerialBench().WithFifos();
        bench[UartRegister.ModemControl] = modemControl;
        bench.Send(1, 2, 255);
        Assert.Equal([1, 2, 255], new[] { bench[UartRegister.Data], bench[UartRegister.Data], bench[UartRegister.Data] });
        Assert.Equal(Idle, bench.LineStatus());
    }

    [Fact]
    public void An_empty_receiver_reads_0()
    {
        using var bench = new SerialBench().WithFifos();
        bench.Send(7);
        Assert.Equal((7, 0), (bench[UartRegister.Data], bench[UartRegister.Data]));
    }

    [Fact]
    public void A_port_hears_nothing_of_the_other()
    {
        using var bench = new SerialBench();
        bench.Send(7);
        Assert.Equal((Idle, Idle | UartLineStatus.DataReady), (bench.LineStatus(1), bench.LineStatus()));
    }

    [Fact]
    public void With_the_divisor_latch_the_first_two_registers_are_the_divisor_and_nothing_else()
    {
        using var bench = new SerialBench();
        bench[UartRegister.InterruptEnable] = 5;
        bench[UartRegister.LineControl] = Latch | 3;
        bench[UartRegister.Data] = 0x34;
        bench[UartRegister.InterruptEnable] = 0x12;
        bench[UartRegister.Data] = 0x56;
        Assert.Equal((0x56, 0x12, Idle), (bench[UartRegister.Data], bench[UartRegister.InterruptEnable], bench.LineStatus()));

        bench[UartRegister.LineControl] = 3;
        Assert.Equal((0, 5, 3), (bench[UartRegister.Data], bench[UartRegister.InterruptEnable], bench[UartRegister.LineControl]));
        bench[UartRegister.LineControl] = Latch;
        Assert.Equal((0x56, 0x12), (bench[UartRegister.Data], bench[UartRegister.InterruptEnable]));
    }

    [Theory]
    [InlineData(UartRegister.InterruptEnable, 0x0f)]
    [InlineData(UartRegister.LineControl, 0x7f)]
    [InlineData(UartRegister.ModemControl, 0x1f)]
    [InlineData(UartRegister.Scratch, 0xff)]
    public void A_register_keeps_the_bits_that_it_has(int register, byte kept)
    {
        using var bench = new SerialBench();
        bench[register] = 0x7f;
        Assert.Equal(0x7f & kept, bench[register]);
        bench[register] = register == UartRegister.LineControl ? (byte)0x7f : (byte)0xff;
        Assert.Equal(kept, bench[register]);
    }

    [Theory]
    [InlineData(UartRegister.LineStatus)]
    [InlineData(UartRegister.ModemStatus)]
    public void A_status_cannot_be_written(int register)
    {
        using var bench = new SerialBench();
        var before = bench.SaveState();
        bench[register] = 0xff;
        Assert.Equal(before, bench.SaveState());
    }

    [Fact]
    public void A_wide_access_is_one_to_each_register_in_turn()
    {
        using var bench = new SerialBench();
        Assert.True(bench.Card.WriteRegion(0, UartRegister.LineControl, [3, 0x1f]).IsOk);
        Assert.True(bench.Card.WriteRegion(0, 0, [9, 1]).IsOk);
        Assert.Equal([9, 1, (byte)UartInterruptId.None, 3], bench.Read(0, 0, 4));
    }

    // ---- FIFOs -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_seventeenth_byte_is_lost_and_the_FIFO_keeps_the_first_sixteen()
    {
        using var bench = new SerialBench().WithFifos();
        for (byte sent = 1; sent <= 17; sent++)
            bench.Send(sent);
        Assert.Equal(Idle | UartLineStatus.DataReady | UartLineStatus.Overrun, bench.LineStatus());
        for (byte expected = 1; expected <= 16; expected++)
            Assert.Equal(expected, bench[UartRegister.Data]);
        Assert.Equal(Idle, bench.LineStatus());
    }

    [Fact]
    public void Without_FIFOs_the_second_byte_takes_the_place_of_the_first()
    {
        using var bench = new SerialBench();
        bench.Send(1, 2);
        Assert.Equal(Idle | UartLineStatus.DataReady | UartLineStatus.Overrun, bench.LineStatus());
        Assert.Equal((2, Idle), (bench[UartRegister.Data], bench.LineStatus()));
    }

    [Fact]
    public void An_overrun_is_told_until_the_line_status_is_read()
    {
        using var bench = new SerialBench();
        bench.Send(1, 2);
        _ = bench[UartRegister.Data];
        Assert.Equal(Idle | UartLineStatus.Overrun, bench.LineStatus());
        Assert.Equal(Idle, bench.LineStatus());
    }

    [Theory]
    [InlineData(Enable | ClearReceiver, 0)]
    [InlineData(Enable | ClearTransmitter, 1)]
    [InlineData(Enable, 1)]
    [InlineData(None, 0)]
    [InlineData(ClearTransmitter, 0)]
    public void The_receiver_is_emptied_by_its_clear_bit_and_by_a_change_of_mode(UartFifoControl control, int left)
    {
        using var bench = new SerialBench().WithFifos();
        bench.Send(5);
        bench[UartRegister.FifoControl] = (byte)control;
        Assert.Equal(left == 1, (bench.LineStatus() & UartLineStatus.DataReady) != 0);
    }

    [Fact]
    public void Turning_FIFOs_on_empties_the_receiver()
    {
        using var bench = new SerialBench();
        bench.Send(5);
        bench.WithFifos();
        Assert.Equal(Idle, bench.LineStatus());
    }

    [Fact]
    public void Without_Enable_the_other_FIFO_bits_have_no_effect()
    {
        using var bench = new SerialBench();
        bench.Send(5);
        bench[UartRegister.FifoControl] = (byte)(Trigger14 | ClearReceiver);
        bench[UartRegister.InterruptEnable] = (byte)UartInterruptEnable.ReceivedData;
        Assert.Equal((byte)UartInterruptId.ReceivedData, bench[UartRegister.InterruptId]);
        Assert.Equal(5, bench[UartRegister.Data]);
    }

    [Fact]
    public void Interrupt_id_tells_whether_FIFOs_are_on()
    {
        using var bench = new SerialBench();
        Assert.Equal(0x01, bench[UartRegister.InterruptId]);
        bench.WithFifos();
        Assert.Equal(0xc1, bench[UartRegister.InterruptId]);
    }

    // ---- Interrupts ------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(None, 1)]
    [InlineData(Trigger4, 4)]
    [InlineData(Trigger8, 8)]
    [InlineData(Trigger14, 14)]
    public void Below_the_trigger_level_the_receiver_reports_a_timeout_and_from_it_on_data(UartFifoControl trigger, int level)
    {
        using var bench = new SerialBench().WithFifos(trigger, UartInterruptEnable.ReceivedData);
        Assert.Equal(UartInterruptId.None, bench.InterruptId());
        for (var sent = 1; sent <= 16; sent++)
        {
            bench.Send(1);
            Assert.Equal(sent < level ? UartInterruptId.ReceiverTimeout : UartInterruptId.ReceivedData, bench.InterruptId());
        }
        for (var left = 15; left >= 0; left--)
        {
            _ = bench[UartRegister.Data];
            var expected = left >= level ? UartInterruptId.ReceivedData : left > 0 ? UartInterruptId.ReceiverTimeout : UartInterruptId.None;
            Assert.Equal(expected, bench.InterruptId());
        }
    }

    [Fact]
    public void The_highest_priority_is_told_first_and_each_ends_as_it_should()
    {
        using var bench = new SerialBench();
        bench.Send(1, 2);
        bench[UartRegister.ModemControl] = (byte)UartModemControl.Loop;
        bench[UartRegister.InterruptEnable] = (byte)UartInterruptEnable.All;

        Assert.Equal((UartInterruptId.LineStatus, UartInterruptId.LineStatus), (bench.InterruptId(), bench.InterruptId()));
        _ = bench.LineStatus();
        Assert.Equal((UartInterruptId.ReceivedData, UartInterruptId.ReceivedData), (bench.InterruptId(), bench.InterruptId()));
        _ = bench[UartRegister.Data];
        Assert.Equal((UartInterruptId.TransmitterEmpty, UartInterruptId.ModemStatus), (bench.InterruptId(), bench.InterruptId()));
        _ = bench.ModemStatus();
        Assert.Equal(UartInterruptId.None, bench.InterruptId());
    }

    [Theory]
    [InlineData(UartInterruptEnable.LineStatus, UartInterruptId.LineStatus)]
    [InlineData(UartInterruptEnable.ReceivedData, UartInterruptId.ReceivedData)]
    [InlineData(UartInterruptEnable.TransmitterEmpty, UartInterruptId.TransmitterEmpty)]
    [InlineData(UartInterruptEnable.ModemStatus, UartInterruptId.ModemStatus)]
    [InlineData(UartInterruptEnable.None, UartInterruptId.None)]
    public void Only_what_is_enabled_asks_for_an_interrupt(UartInterruptEnable enabled, UartInterruptId expected)
    {
        using var bench = new SerialBench();
        bench.Send(1, 2);
        bench[UartRegister.ModemControl] = (byte)UartModemControl.Loop;
        bench[UartRegister.InterruptEnable] = (byte)enabled;
        Assert.Equal((expected != UartInterruptId.None, expected), (bench.IsInterruptPending, bench.InterruptId()));
    }

    [Fact]
    public void The_transmitters_interrupt_comes_when_it_is_turned_on_and_after_each_byte()
    {
        using var bench = new SerialBench();
        bench[UartRegister.InterruptEnable] = (byte)UartInterruptEnable.TransmitterEmpty;
        Assert.Equal((UartInterruptId.TransmitterEmpty, UartInterruptId.None), (bench.InterruptId(), bench.InterruptId()));
        bench[UartRegister.InterruptEnable] = (byte)UartInterruptEnable.TransmitterEmpty;
        Assert.Equal(UartInterruptId.None, bench.InterruptId());
        bench.Send(1);
        Assert.Equal((UartInterruptId.TransmitterEmpty, UartInterruptId.None), (bench.InterruptId(), bench.InterruptId()));
    }

    [Fact]
    public void A_transmitters_interrupt_that_was_turned_off_is_forgotten()
    {
        using var bench = new SerialBench();
        bench.Send(1);
        bench[UartRegister.InterruptEnable] = (byte)UartInterruptEnable.TransmitterEmpty;
        bench[UartRegister.InterruptEnable] = 0;
        Assert.Equal((UartInterruptId.None, 0), (bench.InterruptId(), bench.SaveState()[MttyPortState.TransmitterRequest]));
    }

    // ---- Modem -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Without_Loop_the_plug_holds_the_lines_whatever_the_outputs_are()
    {
        using var bench = new SerialBench();
        var plugged = UartModemStatus.ClearToSend | UartModemStatus.DataSetReady | UartModemStatus.Carrier;
        Assert.Equal(plugged, bench.ModemStatus());
        bench[UartRegister.ModemControl] = (byte)(UartModemControl.All & ~UartModemControl.Loop);
        Assert.Equal(plugged, bench.ModemStatus());
    }

    [Theory]
    [InlineData(UartModemControl.RequestToSend, UartModemStatus.ClearToSend, UartModemStatus.ClearToSendChanged, UartModemStatus.ClearToSendChanged)]
    [InlineData(
        UartModemControl.DataTerminalReady, UartModemStatus.DataSetReady, UartModemStatus.DataSetReadyChanged, UartModemStatus.DataSetReadyChanged)]
    [InlineData(UartModemControl.Out1, UartModemStatus.Ring, UartModemStatus.None, UartModemStatus.RingEnded)]
    [InlineData(UartModemControl.Out2, UartModemStatus.Carrier, UartModemStatus.CarrierChanged, UartModemStatus.CarrierChanged)]
    public void With_Loop_each_output_is_an_input_and_changes_are_told_once(
        UartModemControl output, UartModemStatus line, UartModemStatus changedOn, UartModemStatus changedOff)
    {
        using var bench = new SerialBench();
        bench[UartRegister.ModemControl] = (byte)UartModemControl.Loop;
        _ = bench.ModemStatus();

        bench[UartRegister.ModemControl] = (byte)(UartModemControl.Loop | output);
        Assert.Equal((line | changedOn, line), (bench.ModemStatus(), bench.ModemStatus()));
        bench[UartRegister.ModemControl] = (byte)UartModemControl.Loop;
        Assert.Equal((changedOff, UartModemStatus.None), (bench.ModemStatus(), bench.ModemStatus()));
    }

    [Fact]
    public void Entering_Loop_is_a_change_of_the_lines_that_the_plug_held()
    {
        using var bench = new SerialBench();
        bench[UartRegister.ModemControl] = (byte)UartModemControl.Loop;
        Assert.Equal(
            UartModemStatus.ClearToSendChanged | UartModemStatus.DataSetReadyChanged | UartModemStatus.CarrierChanged, bench.ModemStatus());
    }

    [Fact]
    public void Changes_add_up_until_they_are_read()
    {
        using var bench = new SerialBench();
        bench[UartRegister.ModemControl] = (byte)(UartModemControl.All & ~UartModemControl.Out1);
        bench[UartRegister.ModemControl] = (byte)(UartModemControl.Loop | UartModemControl.DataTerminalReady);
        Assert.Equal(
            UartModemStatus.DataSetReady | UartModemStatus.ClearToSendChanged | UartModemStatus.CarrierChanged, bench.ModemStatus());
    }
}
