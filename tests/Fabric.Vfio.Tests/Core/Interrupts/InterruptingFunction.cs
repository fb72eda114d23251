using System.Buffers.Binary;
using Fabric.Pci;
using Fabric.Vfio.Core.Interrupts;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>
/// A function with a level-triggered line, MSI and MSI-X, and the host's side of them. It remembers what it was told, and throws where the
/// port is misused: a vector connected twice or not allocated, vectors freed while connected.
/// </summary>
internal sealed class InterruptingFunction : IPciFunction, IFunctionInterrupts
{
    private const ushort DisIntx = (ushort)PciCommand.InterruptDisable;
    private const ushort InterruptStatus = 1 << 3;

    private readonly byte[] config = new byte[ConfigOffset.ConventionalSize];
    private readonly HashSet<int> allocated = [];
    private readonly Dictionary<int, IEventTarget> connected = [];
    private IEventTarget? line;

    /// <summary>"line shared", "mask line", "allocate 3 Msi", "connect 2": in order.</summary>
    public List<string> Calls { get; } = [];

    /// <summary>DisINTx follows what is written; else it stays 0.</summary>
    public bool HasDisIntx { get; init; } = true;

    /// <summary>Vectors to be had.</summary>
    public int Available { get; set; } = int.MaxValue;

    public Errno LineError { get; set; }

    public Errno AllocateError { get; set; }

    public Func<int, Errno> OnGrow { get; set; } = _ => Errno.None;

    public Func<int, Errno> OnConnect { get; set; } = _ => Errno.None;

    public FunctionTraits Traits { get; init; }

    public bool HasLine { get; init; } = true;

    public bool CanGrowMsix { get; init; }

    public bool IsLineConnected => line is not null;

    public bool IsLineMasked { get; private set; }

    public bool IsAsserted { get; private set; }

    public bool DisIntxIsSet => (Get(ConfigOffset.Command) & DisIntx) != 0;

    public IReadOnlyCollection<int> Allocated => allocated;

    public IReadOnlyDictionary<int, IEventTarget> Connected => connected;

    public PciAddress Address => new(0, 0x3b, 0, 0);

    public PciIds Ids => default;

    public int ConfigSize => config.Length;

    public IReadOnlyList<PciBar> Bars => new PciBar[6];

    public IReadOnlyList<string> ResetMethods => [];

    public IFunctionInterrupts Interrupts => this;

    /// <summary>An open device's interrupts on this function, its masking decided as at open.</summary>
    public DeviceInterrupts Open(bool pin = true, int msi = 8, int msix = 16) =>
        new(this, new IntxRegisters(this).Decide(), new InterruptGeometry(pin, msi, msix));

    public ushort Get(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(config.AsSpan(offset));

    public void Put(int offset, int value) => BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(offset), (ushort)value);

    public void Assert()
    {
        IsAsserted = true;
        Put(ConfigOffset.Status, Get(ConfigOffset.Status) | InterruptStatus);
        Deliver();
    }

    public void Deassert()
    {
        IsAsserted = false;
        Put(ConfigOffset.Status, Get(ConfigOffset.Status) & ~InterruptStatus);
    }

    /// <summary>Another device on the shared line asserts it.</summary>
    public void AssertByNeighbour() => line!.Signal();

    public void Fire(int vector) => connected[vector].Signal();

    public void ReadConfig(int offset, Span<byte> destination) => config.AsSpan(offset, destination.Length).CopyTo(destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        source.CopyTo(config.AsSpan(offset, source.Length));
        if (!HasDisIntx)
            Put(ConfigOffset.Command, Get(ConfigOffset.Command) & ~DisIntx);
        Deliver();
    }

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive)
    {
        if (LineError != Errno.None)
            return VfioResult.Fail(LineError, "The line is not to be had.");
        Must(line is null, "The line is connected already.");
        Calls.Add(exclusive ? "line exclusive" : "line shared");
        line = handler;
        Deliver();
        return VfioResult.Ok;
    }

    public void DisconnectLine()
    {
        Must(line is not null, "The line is not connected.");
        Calls.Add("line off");
        line = null;
    }

    public void MaskLine(bool masked)
    {
        Must(line is not null, "A line that is not connected is not masked either.");
        Calls.Add(masked ? "mask line" : "unmask line");
        IsLineMasked = masked;
        Deliver();
    }

    public VfioResult<int> Allocate(IrqIndex type, int count)
    {
        Must(allocated.Count == 0 && count > 0, "Vectors are allocated once, and at least one.");
        Calls.Add($"allocate {count} {type}");
        if (AllocateError != Errno.None)
            return new VfioError(AllocateError, "No vector is to be had.");
        if (count > Available)
            return Available;
        allocated.UnionWith(Enumerable.Range(0, count));
        return count;
    }

    public VfioResult Grow(int vector)
    {
        Must(!allocated.Contains(vector), "The vector is allocated already.");
        Calls.Add($"grow {vector}");
        if (OnGrow(vector) is not Errno.None and var errno)
            return VfioResult.Fail(errno, "No such vector is to be had.");
        allocated.Add(vector);
        return VfioResult.Ok;
    }

    public void Free()
    {
        Must(connected.Count == 0, "A vector is connected still.");
        Calls.Add("free");
        allocated.Clear();
        Put(ConfigOffset.Command, Get(ConfigOffset.Command) & ~DisIntx);
    }

    public VfioResult Connect(int vector, IEventTarget handler)
    {
        Must(allocated.Contains(vector) && !connected.ContainsKey(vector), "The vector is not free to be connected.");
        Calls.Add($"connect {vector}");
        if (OnConnect(vector) is not Errno.None and var errno)
            return VfioResult.Fail(errno, "The vector cannot be connected.");
        connected.Add(vector, handler);
        return VfioResult.Ok;
    }

    public void Disconnect(int vector)
    {
        Must(connected.Remove(vector), "The vector is not connected.");
        Calls.Add($"disconnect {vector}");
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination) => throw new NotSupportedException();

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source) => throw new NotSupportedException();

    public VfioResult Reset(string method) => throw new NotSupportedException();

    public void ConnectDma(IDmaSpace? space)
    {
    }

    /// <summary>A level: whatever lifts a mask brings an asserted line in at once, in the middle of the call that lifted it.</summary>
    private void Deliver()
    {
        if (line is not null && IsAsserted && !DisIntxIsSet && !IsLineMasked)
            line.Signal();
    }

    private static void Must(bool holds, string otherwise)
    {
        if (!holds)
            throw new InvalidOperationException(otherwise);
    }
}
