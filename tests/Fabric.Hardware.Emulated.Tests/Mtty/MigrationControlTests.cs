using CsCheck;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;

namespace Fabric.Hardware.Emulated.Tests.Mtty;

/// <summary>What the host's driver can do to the card. CsCheck prints the seed of a failure.</summary>
public sealed class MigrationControlTests
{
    /// <summary>A register of a port written with a value, or (null) read.</summary>
    internal readonly record struct Access(int Port, int Register, byte? Value);

    private static readonly Gen<Access> AnyAccess = Gen.Select(
        Gen.Int[0, 1], Gen.Int[0, 7], Gen.Frequency((2, Gen.Byte.Select(value => (byte?)value)), (1, Gen.Const(0).Select(_ => (byte?)null))),
        (port, register, value) => new Access(port, register, value));

    /// <summary>Registers in any order, and runs of bytes that fill a FIFO.</summary>
    private static readonly Gen<Access[]> AnyUse = Gen.Frequency(
        (4, AnyAccess.Select(access => new[] { access })),
        (1, Gen.Select(
            Gen.Int[0, 1], Gen.Byte.Array[1, 20], (port, bytes) => bytes.Select(sent => new Access(port, UartRegister.Data, sent)).ToArray())),
        (1, Gen.Int[0, 1].Select(port => new Access[]
        {
            new(port, UartRegister.LineControl, 3), new(port, UartRegister.FifoControl, 1), new(port, UartRegister.InterruptEnable, 15),
        })))
        .Array[0, 25].Select(uses => uses.SelectMany(use => use).ToArray());

    [Fact]
    public void A_suspended_card_neither_answers_nor_changes_nor_interrupts_MG_2()
    {
        using var bench = new SerialBench().WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        bench.Send(1);
        bench.Execute(MttyCommand.Suspend);
        var (before, line) = (bench.SaveState(), bench.ConnectLine());
        bench.Send(2);
        Assert.Equal(Enumerable.Repeat((byte)0xff, 8), bench.Read(0, 0, 8));
        Assert.Equal(before, bench.SaveState());
        Assert.Equal((0, false), (line.Signals, bench.IsInterruptPending));
    }

    [Fact]
    public void A_resumed_card_goes_on_and_its_interrupt_comes_again()
    {
        using var bench = new SerialBench(command: PciCommand.IoSpace | PciCommand.BusMaster).WithFifos(interrupts: UartInterruptEnable.ReceivedData);
        var msi = bench.ConnectMsi();
        bench.Send(1);
        bench.Execute(MttyCommand.Suspend);
        bench.Execute(MttyCommand.Resume);
        Assert.Equal((2, 1), (msi.Signals, bench[UartRegister.Data]));
    }

    [Fact]
    public void A_state_is_taken_only_from_the_load_buffer_of_a_suspended_card()
    {
        using var bench = new SerialBench();
        var state = bench.SaveState();
        state[MttyPortState.Scratch] = 7;
        Assert.False(bench.LoadState(state));
        Assert.Equal(0, bench[UartRegister.Scratch]);

        bench.Execute(MttyCommand.Suspend);
        Assert.True(bench.LoadState(state));
        Assert.Equal(state, bench.SaveState());
    }

    [Fact]
    public void A_state_of_two_ports_is_taken_whole_or_not_at_all()
    {
        using var bench = new SerialBench();
        bench.Execute(MttyCommand.Suspend);
        var before = bench.SaveState();
        var state = bench.SaveState();
        state[MttyPortState.Scratch] = 7;
        state[MttyPortState.Bytes + MttyPortState.InterruptEnable] = 0xff;
        Assert.False(bench.LoadState(state));
        Assert.Equal(before, bench.SaveState());
    }

    [Fact]
    public void A_card_tells_how_many_ports_it_has()
    {
        using var one = new SerialBench(ports: 1);
        using var two = new SerialBench();
        Assert.Equal((1, 2), (one.Read(MttyBar.Migration, MttyMigration.Ports, 4)[0], two.Read(MttyBar.Migration, MttyMigration.Ports, 4)[0]));
    }

    [Fact]
    public void Whatever_was_done_to_a_card_another_takes_its_state_and_behaves_the_same() =>
        Gen.Select(AnyUse, AnyUse).Sample((before, after) =>
        {
            using var source = new SerialBench();
            using var target = new SerialBench();
            Use(source, before);
            source.Execute(MttyCommand.Suspend);
            target.Execute(MttyCommand.Suspend);
            Assert.True(target.LoadState(source.SaveState()));
            source.Execute(MttyCommand.Resume);
            target.Execute(MttyCommand.Resume);

            Assert.Equal(source.IsInterruptPending, target.IsInterruptPending);
            Assert.Equal(Use(source, after), Use(target, after));
            Assert.Equal(source.SaveState(), target.SaveState());
        }, iter: 3_000);

    [Fact]
    public void Any_bytes_are_taken_as_they_are_or_refused() =>
        Gen.Select(AnyUse, AnyUse, Gen.Int[0, (2 * MttyPortState.Bytes) - 1], Gen.Byte).Sample((use, other, at, value) =>
        {
            using var used = new SerialBench();
            using var bench = new SerialBench();
            Use(used, use);
            Use(bench, other);
            bench.Execute(MttyCommand.Suspend);
            var (state, before) = (used.SaveState(), bench.SaveState());
            state[at] = value;
            Assert.Equal(bench.LoadState(state) ? state : before, bench.SaveState());
        }, iter: 3_000);

    [Fact]
    public void No_access_throws_whatever_its_offset_length_and_value() =>
        Gen.Select(Gen.Int[0, 2], Gen.Int[0, MttyMigration.Bytes - 1], Gen.Byte.Array[1, 64], Gen.Bool).Sample((bar, offset, bytes, write) =>
        {
            using var bench = new SerialBench();
            var size = (int)bench.Card.Bars[bar].Size;
            offset %= size;
            var length = Math.Min(bytes.Length, size - offset);
            if (write)
                Assert.True(bench.Card.WriteRegion(bar, (ulong)offset, bytes.AsSpan(0, length)).IsOk);
            Assert.True(bench.Card.ReadRegion(bar, (ulong)offset, bytes.AsSpan(0, length)).IsOk);
        }, iter: 20_000);

    private static List<byte> Use(SerialBench bench, Access[] accesses)
    {
        var read = new List<byte>();
        foreach (var access in accesses)
        {
            if (access.Value is { } value)
                bench[access.Register, access.Port] = value;
            else
                read.Add(bench[access.Register, access.Port]);
            read.Add(bench.IsInterruptPending ? (byte)1 : (byte)0);
        }

        return read;
    }
}
