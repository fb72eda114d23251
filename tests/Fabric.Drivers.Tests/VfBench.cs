using System.Buffers.Binary;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Drivers.Tests;

/// <summary>The PF's driver with a test in front of it.</summary>
internal sealed class TappedChannel(IPfChannel inner) : IPfChannel
{
    /// <summary>Sees each command; an error is its answer.</summary>
    public Func<VfioResult> OnCommand { get; set; } = () => VfioResult.Ok;

    public List<byte[]> Commands { get; } = [];

    public string Protocol => inner.Protocol;

    public VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        Commands.Add(command.ToArray());
        var tapped = OnCommand();
        return tapped.IsOk ? inner.Execute(command, reply) : tapped.Error;
    }

    public void ReportTo(Action<PfEvent>? sink) => inner.ReportTo(sink);
}

/// <summary>
/// The first VF of an emulated card, open, with memory and bus mastering; its PF; a clock in the hand. What a driver does with them is seen access by
/// access, without an actor.
/// </summary>
internal sealed class VfBench : IDisposable
{
    public const ulong Iova = 0x10000;
    public const int MemoryBytes = 1 << 16;

    public VfBench(string model)
    {
        Bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [new EmulatedCard(model, VirtualFunctions: 1)] }, Time);
        Physical = (CommandedPhysicalFunction)Bus.Functions[0];
        Function = Bus.Functions[1];
        Tapped = new TappedFunction(Function);
        Core = new VfioPciDevices(new OneFunctionBus(Tapped)).Register(Tapped).Value;
        Assert.True(Core.Open().IsOk);
        Channel = new TappedChannel(Function.Platform.PhysicalFunction!);
        Assert.True(Core.MapDma(Iova, Memory).IsOk);
        MasterBus();
    }

    public FakeTimeProvider Time { get; } = new();

    public EmulatedBus Bus { get; }

    public CommandedPhysicalFunction Physical { get; }

    /// <summary>The VF itself, past the core and what is in front of it.</summary>
    public IPciFunction Function { get; }

    public TappedFunction Tapped { get; }

    public VfioPciCore Core { get; }

    public TappedChannel Channel { get; }

    public HolderMemory Memory { get; } = new(MemoryBytes);

    public RegionMapping Map(int bar) => Core.Map(bar, MapOptions.DriverOwned).Value;

    public uint Read32(int bar, int offset)
    {
        var value = new byte[4];
        Assert.True(Function.ReadRegion(bar, (ulong)offset, value).IsOk);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }

    public ulong Read64(int bar, int offset) => Read32(bar, offset) | ((ulong)Read32(bar, offset + 4) << 32);

    public void Write32(int bar, int offset, uint value) => Assert.True(Function.WriteRegion(bar, (ulong)offset, BitConverter.GetBytes(value)).IsOk);

    public void Write64(int bar, int offset, ulong value) => Assert.True(Function.WriteRegion(bar, (ulong)offset, BitConverter.GetBytes(value)).IsOk);

    /// <summary>Goes there, and waits as long as the device is on its way.</summary>
    public VfioResult<MigrationDeviceState> Go(MigrationMachine machine, MigrationState target)
    {
        var set = machine.Set(target);
        while (set is { IsOk: true, Value.ContinuesAfter: { } after })
        {
            Time.Advance(after);
            set = machine.Continue();
        }

        return set;
    }

    /// <summary>The function is reset, and bus mastering on again, as a guest that starts anew has it.</summary>
    public void Reset()
    {
        Assert.True(Function.Reset(ResetMethod.FunctionLevel).IsOk);
        MasterBus();
    }

    /// <summary>Something is done at the n-th access to the VF or command to the PF. Tells whether there were so many.</summary>
    public Func<bool> At(int access, Func<VfioResult> what)
    {
        var (count, done) = (0, false);
        VfioResult Tap() => !done && count++ == access && (done = true) ? what() : VfioResult.Ok;
        (Tapped.OnRead, Tapped.OnWrite, Channel.OnCommand) = (Tap, Tap, Tap);
        return () =>
        {
            (Tapped.OnRead, Tapped.OnWrite, Channel.OnCommand) = (static () => VfioResult.Ok, static () => VfioResult.Ok, static () => VfioResult.Ok);
            return done;
        };
    }

    public void Dispose() => Bus.Dispose();

    private void MasterBus() => Function.WriteConfig(ConfigOffset.Command, [(byte)PciCommand.BusMaster, 0]);
}

/// <summary>Streams by chunks.</summary>
internal static class Chunks
{
    /// <summary>All there is for now, in chunks of these lengths again and again.</summary>
    public static byte[] Read(IMigrationStream stream, params int[] lengths)
    {
        var all = new List<byte>();
        for (var i = 0; ; i++)
        {
            var buffer = new byte[lengths.Length == 0 ? 4096 : lengths[i % lengths.Length]];
            if (stream.Read(buffer) is not { IsOk: true, Value: > 0 } read)
                return [.. all];
            all.AddRange(buffer[..read.Value]);
        }
    }

    /// <summary>The first error, or success.</summary>
    public static VfioResult Write(IMigrationStream stream, ReadOnlySpan<byte> bytes, params int[] lengths)
    {
        for (var i = 0; !bytes.IsEmpty; i++)
        {
            var chunk = lengths.Length == 0 ? bytes.Length : Math.Min(bytes.Length, lengths[i % lengths.Length]);
            var written = stream.Write(bytes[..chunk]);
            if (!written.IsOk)
                return written;
            bytes = bytes[chunk..];
        }

        return VfioResult.Ok;
    }
}
