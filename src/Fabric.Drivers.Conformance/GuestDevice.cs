using Akka.Actor;
using Fabric.Devices;
using Fabric.Drivers.Conformance.Harness;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Xunit;

namespace Fabric.Drivers.Conformance;

/// <summary>An open device in the hands of its guest, with all of its decoding and bus mastering on, and memory mapped for its DMA.</summary>
public sealed class GuestDevice
{
    /// <summary>Where the guest's memory is mapped for DMA.</summary>
    public const ulong MemoryIova = 0x10_0000;

    private readonly Lab lab;
    private readonly GuestMemory memory;

    internal GuestDevice(Lab lab, SessionId session, IActorRef consumer, GuestMemory memory) =>
        (this.lab, Session, Consumer, this.memory) = (lab, session, consumer, memory);

    public SessionId Session { get; }

    /// <summary>What DMA reaches from <see cref="MemoryIova"/> on. It moves with its guest.</summary>
    public byte[] Memory => memory.Bytes;

    /// <summary>The device itself, as the host's hardware has it.</summary>
    public IPciFunction Function => lab.Function.Inner;

    internal IActorRef Consumer { get; }

    /// <summary>Asks the device, and expects this answer. Time goes on while its driver waits for some.</summary>
    public Task<T> AskAsync<T>(DeviceRequest request)
        where T : DeviceReply => lab.ExpectAsync<T>(request);

    /// <summary>Asks the device, and takes whatever it answers.</summary>
    public Task<DeviceReply> AskAsync(DeviceRequest request) => lab.AskAsync(request);

    public async Task<byte[]> ReadAsync(int region, ulong offset, int length)
    {
        var read = (await AskAsync<RegionRead>(new ReadRegion(Session, region, offset, length)).ConfigureAwait(false)).Data.ToArray();
        Assert.Equal(length, read.Length);
        return read;
    }

    public async Task WriteAsync(int region, ulong offset, ReadOnlyMemory<byte> data)
    {
        var written = await AskAsync<RegionWritten>(new WriteRegion(Session, region, offset, data)).ConfigureAwait(false);
        Assert.Equal(data.Length, written.Length);
    }

    /// <summary>The guest's driver turns on I/O, memory and bus mastering.</summary>
    public Task EnableAsync()
    {
        const PciCommand All = PciCommand.IoSpace | PciCommand.MemorySpace | PciCommand.BusMaster;
        return WriteAsync(RegionIndex.Config, ConfigOffset.Command, new byte[] { (byte)All, 0 });
    }

    /// <summary>Time goes on, for the device as for its host.</summary>
    public void Advance(TimeSpan time) => lab.World.Advance(time);
}

/// <summary>Memory of a guest.</summary>
internal sealed class GuestMemory(int bytes) : IDmaMemory
{
    public byte[] Bytes { get; } = new byte[bytes];

    public ulong Length => (ulong)Bytes.Length;

    public Span<byte> Window(ulong offset, int length) => Bytes.AsSpan((int)offset, length);
}
