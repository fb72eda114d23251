using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Emulated.Tests.Mtty;

/// <summary>The card's pin, a level, and its MSI vector, an edge.</summary>
public sealed class InterruptTests
{
    private const PciCommand Messages = PciCommand.IoSpace | PciCommand.BusMaster;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    // ---- INTx ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void The_line_is_signalled_once_for_a_level_and_again_for_the_next()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var line = bench.ConnectLine();
        bench.Send(1, 2);
        Assert.Equal((1, true), (line.Signals, bench.IsInterruptPending));
        _ = bench[UartRegister.Data];
        _ = bench[UartRegister.Data];
        Assert.Equal((1, false), (line.Signals, bench.IsInterruptPending));
        bench.Send(3);
        Assert.Equal(2, line.Signals);
    }

    [Fact]
    public void A_level_that_stands_is_signalled_to_who_connects()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        bench.Send(1);
        Assert.Equal(1, bench.ConnectLine().Signals);
    }

    [Fact]
    public void Both_ports_share_the_line()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var line = bench.ConnectLine();
        bench[UartRegister.InterruptEnable, 1] = (byte)UartInterruptEnable.ReceivedData;
        bench[UartRegister.Data, 1] = 1;
        bench.Send(1);
        _ = bench[UartRegister.Data];
        Assert.Equal((1, true), (line.Signals, bench.IsInterruptPending));
        _ = bench[UartRegister.Data, 1];
        Assert.False(bench.IsInterruptPending);
    }

    [Fact]
    public void DisINTx_keeps_the_line_quiet_and_the_status_bit_true_CF_61_CF_62()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var line = bench.ConnectLine();
        bench.Command |= PciCommand.InterruptDisable;
        bench.Send(1);
        Assert.Equal((0, true), (line.Signals, bench.IsInterruptPending));

        bench.Command &= ~PciCommand.InterruptDisable;
        Assert.Equal(1, line.Signals);
        bench.Command |= PciCommand.InterruptDisable;
        bench.Command &= ~PciCommand.InterruptDisable;
        Assert.Equal(2, line.Signals);
    }

    [Fact]
    public void The_hosts_mask_keeps_the_line_quiet_CF_61()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var line = bench.ConnectLine();
        bench.Card.Interrupts.MaskLine(true);
        bench.Send(1);
        Assert.Equal(0, line.Signals);
        bench.Card.Interrupts.MaskLine(false);
        Assert.Equal(1, line.Signals);
    }

    [Fact]
    public void A_handler_may_use_the_card_while_it_is_signalled()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var line = bench.ConnectLine();
        var taken = new List<byte>();
        line.OnSignal = () =>
        {
            bench.Command |= PciCommand.InterruptDisable;
            taken.Add(bench[UartRegister.Data]);
            bench.Command &= ~PciCommand.InterruptDisable;
        };
        bench.Send(1);
        bench.Send(2);
        Assert.Equal([1, 2], taken);
    }

    [Fact]
    public void A_handler_that_was_taken_away_is_not_signalled()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var line = bench.ConnectLine();
        bench.Card.Interrupts.DisconnectLine();
        bench.Send(1);
        Assert.Equal((0, 1), (line.Signals, bench.ConnectLine().Signals));
    }

    [Fact]
    public void The_line_has_one_handler()
    {
        using var bench = new SerialBench();
        bench.ConnectLine();
        Assert.Equal(Errno.EBUSY, bench.Card.Interrupts.ConnectLine(new SignalCounter(), false).Error.Errno);
    }

    // ---- MSI -------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_message_goes_out_each_time_a_port_begins_to_ask()
    {
        using var bench = new SerialBench(command: Messages).WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var msi = bench.ConnectMsi();
        bench.Send(1, 2);
        Assert.Equal(1, msi.Signals);
        bench[UartRegister.InterruptEnable, 1] = (byte)UartInterruptEnable.TransmitterEmpty;
        Assert.Equal(2, msi.Signals);
        _ = bench[UartRegister.Data];
        _ = bench[UartRegister.Data];
        bench.Send(3);
        Assert.Equal(3, msi.Signals);
    }

    [Fact]
    public void With_MSI_on_the_pin_is_left_alone()
    {
        using var bench = new SerialBench(command: Messages).WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var (line, msi) = (bench.ConnectLine(), bench.ConnectMsi());
        bench.Send(1);
        Assert.Equal((0, 1), (line.Signals, msi.Signals));
        bench.Card.Interrupts.Disconnect(0);
        bench.Card.Interrupts.Free();
        Assert.Equal((1, false), (line.Signals, bench.MsiIsOn));
    }

    [Fact]
    public void A_message_waits_for_bus_mastering()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var msi = bench.ConnectMsi();
        bench.Send(1);
        Assert.Equal(0, msi.Signals);
        bench.Command = Messages;
        Assert.Equal(1, msi.Signals);
    }

    [Fact]
    public void A_message_waits_for_MSI_to_be_on_and_is_dropped_when_nobody_asks_any_more()
    {
        using var bench = new SerialBench(command: Messages).WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var msi = bench.ConnectMsi();
        bench.SetConfig16(SerialBench.Msi + MsiCapability.Control, 0);
        bench.Send(1);
        _ = bench[UartRegister.Data];
        bench.SetConfig16(SerialBench.Msi + MsiCapability.Control, MsiCapability.Enable);
        Assert.Equal(0, msi.Signals);

        bench.SetConfig16(SerialBench.Msi + MsiCapability.Control, 0);
        bench.Send(1);
        bench.SetConfig16(SerialBench.Msi + MsiCapability.Control, MsiCapability.Enable);
        Assert.Equal(1, msi.Signals);
    }

    [Fact]
    public void There_is_one_vector_and_no_MSI_X_IO_42()
    {
        using var bench = new SerialBench();
        Assert.Equal((1, false), (bench.Card.Interrupts.Allocate(IrqIndex.Msi, 2).Value, bench.MsiIsOn));
        Assert.Equal(Errno.EINVAL, bench.Card.Interrupts.Connect(0, new SignalCounter()).Error.Errno);
        Assert.Equal(Errno.ENODEV, bench.Card.Interrupts.Allocate(IrqIndex.Msix, 1).Error.Errno);
        Assert.Equal((1, true), (bench.Card.Interrupts.Allocate(IrqIndex.Msi, 1).Value, bench.MsiIsOn));
        Assert.Equal(Errno.EINVAL, bench.Card.Interrupts.Connect(1, new SignalCounter()).Error.Errno);
    }

    // ---- From other threads ----------------------------------------------------------------------------------------------------------

    [Fact]
    public void What_another_thread_puts_down_during_a_signal_is_signalled_after_it_and_that_thread_does_not_wait()
    {
        using var bench = new SerialBench(command: Messages).WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        bench[UartRegister.InterruptEnable, 1] = (byte)UartInterruptEnable.ReceivedData;
        var msi = bench.ConnectMsi();
        var joined = false;
        msi.OnSignal = () =>
        {
            msi.OnSignal = () => { };
            var other = new Thread(() => bench[UartRegister.Data, 1] = 1);
            other.Start();
            joined = other.Join(TimeSpan.FromSeconds(30));
        };
        bench.Send(1);
        Assert.Equal((true, 2), (joined, msi.Signals));
    }

    [Fact]
    public void Who_takes_a_handler_away_waits_until_it_has_returned()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var (line, hasReturned, wasReturned) = (bench.ConnectLine(), false, false);
        var taker = new Thread(() =>
        {
            bench.Card.Interrupts.DisconnectLine();
            wasReturned = Volatile.Read(ref hasReturned);
        });
        line.OnSignal = () =>
        {
            taker.Start();
            Assert.True(SpinWait.SpinUntil(() => taker.ThreadState is ThreadState.WaitSleepJoin or ThreadState.Stopped, TimeSpan.FromSeconds(30)));
            Volatile.Write(ref hasReturned, true);
        };
        bench.Send(1);
        taker.Join();
        Assert.True(wasReturned);
    }

    [Fact]
    public async Task Two_threads_that_use_the_card_and_its_handler_do_not_wait_for_each_other_and_no_signal_is_lost()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        bench[UartRegister.FifoControl, 1] = (byte)UartFifoControl.Enable;
        bench[UartRegister.InterruptEnable, 1] = (byte)UartInterruptEnable.ReceivedData;
        var line = bench.ConnectLine();
        var received = 0;

        // As the core's handler: under a lock of its own, which whoever unmasks takes as well.
        var gate = new Lock();
        line.OnSignal = () =>
        {
            lock (gate)
            {
                bench.Command |= PciCommand.InterruptDisable;
                for (var port = 0; port < 2; port++)
                {
                    while ((bench.LineStatus(port) & UartLineStatus.DataReady) != 0)
                    {
                        _ = bench[UartRegister.Data, port];
                        received++;
                    }
                }
            }
        };
        void Unmask()
        {
            lock (gate)
                bench.Command &= ~PciCommand.InterruptDisable;
        }

        // At the end of a round both have unmasked after their byte: whatever is pending then, nobody will ever be told of.
        var lost = 0;
        const int rounds = 20_000;
        using var round = new Barrier(2, _ => lost += bench.IsInterruptPending ? 1 : 0);
        await Task.WhenAll(Enumerable.Range(0, 2).Select(port => Task.Run(() =>
        {
            for (var sent = 0; sent < rounds; sent++)
            {
                bench[UartRegister.Data, port] = 1;
                Unmask();
                round.SignalAndWait();
            }
        }, Cancelled))).WaitAsync(TimeSpan.FromMinutes(1), Cancelled);
        Assert.Equal((0, 2 * rounds), (lost, received));
    }
}
