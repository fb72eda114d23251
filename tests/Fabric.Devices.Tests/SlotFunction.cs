using System.Buffers.Binary;
using System.Collections.Concurrent;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>
/// A function for supervisors to be tried on: whatever is done to it can be made to throw, to hang or to fail, its link can be dead, a reset can
/// take its config space. It has MSI, and as a PF SR-IOV.
/// </summary>
internal sealed class SlotFunction : IPciFunction
{
    public const int Msi = 0x50;
    private const int SriovOffset = 0x100;

    private readonly byte[] config = new byte[ConfigOffset.ExtendedSize];
    private readonly SlotBus bus;
    private readonly int totalVfs;
    private volatile bool isDead;

    public SlotFunction(SlotBus bus, PciAddress address, PciAddress? physical = null, int totalVfs = 0)
    {
        (this.bus, this.totalVfs, Address, PhysicalFunction) = (bus, totalVfs, address, physical);
        Traits = physical is null ? FunctionTraits.None : FunctionTraits.VirtualFunction;
        Put(ConfigOffset.VendorId, physical is null ? FakeFunction.HardwareVendor : (ushort)0xffff);
        Put(ConfigOffset.DeviceId, physical is null ? FakeFunction.HardwareDevice : (ushort)0xffff);
        Put(6, 1 << 4);
        config[0x34] = Msi;
        config[Msi] = (byte)StandardCapability.Msi;
        Put(Msi + 2, 1 << 7);
        BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(0x10), 0xfe00_0000);
        if (totalVfs > 0)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(SriovOffset), 0x0001_0010);
            Put(SriovOffset + SriovCapability.TotalVfCount, (ushort)totalVfs);
        }

        Lines = new LabInterrupts(this);
    }

    public ConcurrentQueue<string> Calls { get; } = new();

    /// <summary>Before everything that is done to it, with its name.</summary>
    public Action<string> Before { get; set; } = _ => { };

    public Func<string, VfioResult> OnReset { get; set; } = _ => VfioResult.Ok;

    public PciAddress Address { get; }

    public PciIds Ids => new(FakeFunction.HardwareVendor, FakeFunction.HardwareDevice);

    public FunctionTraits Traits { get; }

    public PciAddress? PhysicalFunction { get; }

    public int? IommuGroup => Address.Bus * 256 + Address.Device * 8 + Address.Function;

    public int ConfigSize => config.Length;

    public IReadOnlyList<PciBar> Bars { get; } =
        [new(BarKind.Memory32, 0x1000), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    public IReadOnlyList<string> ResetMethods { get; set; } = ["flr", "pm"];

    public LabInterrupts Lines { get; }

    public IFunctionInterrupts Interrupts => Lines;

    /// <summary>Reads all ones, takes no writes.</summary>
    public bool IsDead
    {
        get => isDead;
        set => isDead = value;
    }

    public IDmaSpace? Dma { get; private set; }

    public ushort Hardware(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(config.AsSpan(offset));

    public uint Bar0 => BinaryPrimitives.ReadUInt32LittleEndian(config.AsSpan(0x10));

    public void Put(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(offset), value);

    /// <summary>What a link reset does to it (ER-10).</summary>
    public void LoseConfig()
    {
        Put(ConfigOffset.Command, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(0x10), 0);
        Put(Msi + MsiCapability.Control, (ushort)(Hardware(Msi + MsiCapability.Control) & ~MsiCapability.Enable));
    }

    public void ReadConfig(int offset, Span<byte> destination)
    {
        Before("read config");
        if (isDead)
            destination.Fill(0xff);
        else
            config.AsSpan(offset, destination.Length).CopyTo(destination);
    }

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        Before("write config");
        if (!isDead)
            source.CopyTo(config.AsSpan(offset, source.Length));
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        Before("read region");
        destination.Fill((byte)(isDead ? 0xff : 0x5a));
        return VfioResult.Ok;
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        Before("write region");
        return VfioResult.Ok;
    }

    public VfioResult Reset(string method)
    {
        if (!ResetMethods.Contains(method))
            return VfioResult.Fail(Errno.ENOTTY, "It has no such method.");
        Calls.Enqueue(method);
        Before("reset");
        return OnReset(method);
    }

    public void ConnectDma(IDmaSpace? space)
    {
        Before("dma");
        Dma = space;
    }

    public VfioResult SetVirtualFunctions(int count)
    {
        if (totalVfs == 0)
            return VfioResult.Fail(Errno.ENOTTY, "It has no VFs.");
        Calls.Enqueue($"{count} VFs");
        Before("sriov");
        bus.SetVirtualFunctions(this, count);
        return VfioResult.Ok;
    }
}

/// <summary>Interrupts that are counted; MSI is on in config space while vectors are allocated, as a host's kernel has it.</summary>
internal sealed class LabInterrupts(SlotFunction function) : IFunctionInterrupts
{
    private readonly ConcurrentDictionary<int, IEventTarget> connected = new();

    public bool HasLine => false;

    public bool CanGrowMsix => false;

    public int Connected => connected.Count;

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive) => VfioResult.Fail(Errno.ENODEV, "There is no line.");

    public void DisconnectLine()
    {
    }

    public void MaskLine(bool masked)
    {
    }

    public VfioResult<int> Allocate(IrqIndex type, int count)
    {
        function.Before("vectors");
        function.Put(SlotFunction.Msi + MsiCapability.Control, (ushort)(function.Hardware(SlotFunction.Msi + MsiCapability.Control) | MsiCapability.Enable));
        return count;
    }

    public VfioResult Grow(int vector) => VfioResult.Fail(Errno.EINVAL, "MSI does not grow.");

    public void Free() => function.Put(
        SlotFunction.Msi + MsiCapability.Control, (ushort)(function.Hardware(SlotFunction.Msi + MsiCapability.Control) & ~MsiCapability.Enable));

    public VfioResult Connect(int vector, IEventTarget handler)
    {
        function.Before("vectors");
        connected[vector] = handler;
        return VfioResult.Ok;
    }

    public void Disconnect(int vector) => connected.TryRemove(vector, out _);

    public void Fire(int vector) => connected[vector].Signal();
}

/// <summary>A call that does not come back before it is let go.</summary>
internal sealed class Hang : IDisposable
{
    private readonly ManualResetEventSlim gate = new(false);
    private readonly TaskCompletionSource entered = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Somebody hangs in it.</summary>
    public Task Entered => entered.Task;

    public void Enter()
    {
        entered.TrySetResult();
        gate.Wait();
    }

    public void Release() => gate.Set();

    public void Dispose() => gate.Set();
}
