using System.Collections.Concurrent;
using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests.Lab;

/// <summary>A call that the core makes to hardware.</summary>
internal enum Point
{
    ConfigRead,
    ConfigWrite,
    RegionRead,
    RegionWrite,
    Reset,
    ConnectDma,
    Vfs,
    BusReset,
    Power,
}

/// <summary>One call to hardware that does not come back before the test lets it.</summary>
internal sealed class Hold
{
    private readonly TaskCompletionSource entered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ManualResetEventSlim gate = new();

    /// <summary>The call is under way.</summary>
    public Task Entered => entered.Task.WaitAsync(TimeSpan.FromSeconds(15));

    public bool IsEntered => entered.Task.IsCompleted;

    public Exception? Failure { get; private set; }

    /// <summary>The call comes back, or throws.</summary>
    public void Release(Exception? failure = null)
    {
        Failure = failure;
        gate.Set();
    }

    public void Pass()
    {
        entered.TrySetResult();
        gate.Wait();
        if (Failure is { } failure)
            throw failure;
    }
}

/// <summary>Where calls to one function, or to its bus, are made to wait or to throw. One call each.</summary>
internal sealed class Traps
{
    private readonly ConcurrentDictionary<Point, Hold> holds = new();
    private readonly ConcurrentDictionary<Point, Exception> failures = new();

    /// <summary>The next call at this point.</summary>
    public Hold HoldNext(Point point) => holds[point] = new Hold();

    public void ThrowNext(Point point) => failures[point] = new InvalidOperationException($"{point} is broken.");

    /// <summary>Calls that have not come yet go through.</summary>
    public void Clear()
    {
        holds.Clear();
        failures.Clear();
    }

    public void Pass(Point point)
    {
        if (failures.TryRemove(point, out var failure))
            throw failure;
        if (holds.TryRemove(point, out var hold))
            hold.Pass();
    }
}

/// <summary>
/// A physical function with power management, MSI of four vectors and SR-IOV of two VFs, every call to which a test can hold or break. It notes
/// when two calls of the core overlap, which the port forbids.
/// </summary>
internal sealed class LabFunction : IPciFunction
{
    public const int PowerControl = 0x44;

    private const int SriovBase = 0x100;

    private readonly FakeFunction inner;
    private readonly LabInterrupts interrupts = new();
    private int callers;

    public LabFunction(int number = 2, int? group = 7)
    {
        IommuGroup = group;
        inner = new FakeFunction(isVirtual: false) { Address = new PciAddress(0, 0x3b, 0, (byte)number), Bars = [0x1000, 0, 0x1000, 0, 0x100, 0] };
        inner.Put(0x06, 0x10);
        inner.Put(0x34, 0x40);
        inner.Put(0x40, 0x5001);
        inner.Put(0x42, 0x0003);
        inner.Put(PowerControl, 0x0008);
        inner.Put(0x50, 0x0005);
        inner.Put(0x52, 0x0004);
        inner.Put(SriovBase, 0x0010);
        inner.Put(SriovBase + 2, 0x0001);
        inner.Put(SriovBase + 0x0c, 2);
        inner.Put(SriovBase + 0x0e, 2);
    }

    public Traps Traps { get; } = new();

    /// <summary>Calls by the core alone, which must not overlap; those of a mapping's holder may.</summary>
    public bool Overlapped => Overlap is not null;

    /// <summary>Who came while another call was under way.</summary>
    public string? Overlap { get; private set; }

    public int Resets { get; private set; }

    public Func<VfioResult> OnReset { get; set; } = () => VfioResult.Ok;

    /// <summary>Vectors that are allocated.</summary>
    public int Vectors => interrupts.Allocated;

    public bool HasDma => inner.Dma is not null;

    public bool ReadsAllOnes { get; set; }

    public FakeFunction Inner => inner;

    public PciAddress Address => inner.Address;

    public PciIds Ids => inner.Ids;

    public FunctionTraits Traits => inner.Traits;

    public int? IommuGroup { get; }

    public int ConfigSize => inner.ConfigSize;

    public IReadOnlyList<PciBar> Bars => ((IPciFunction)inner).Bars;

    public IReadOnlyList<string> ResetMethods => ["flr"];

    public IFunctionInterrupts Interrupts => interrupts;

    public void ReadConfig(int offset, Span<byte> destination)
    {
        using var call = Enter(Point.ConfigRead);
        if (ReadsAllOnes)
            destination.Fill(0xff);
        else
            inner.ReadConfig(offset, destination);
    }

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        using var call = Enter(Point.ConfigWrite);
        inner.WriteConfig(offset, source);
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        using var call = Enter(Point.RegionRead);
        if (!ReadsAllOnes)
            return inner.ReadRegion(region, offset, destination);
        destination.Fill(0xff);
        return VfioResult.Ok;
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        using var call = Enter(Point.RegionWrite);
        return inner.WriteRegion(region, offset, source);
    }

    public VfioResult Reset(string method)
    {
        using var call = Enter(Point.Reset);
        Resets++;
        var outcome = OnReset();
        return outcome.IsOk ? inner.Reset(method) : outcome;
    }

    public void ConnectDma(IDmaSpace? space)
    {
        using var call = Enter(Point.ConnectDma);
        inner.ConnectDma(space);
    }

    public VfioResult SetVirtualFunctions(int count)
    {
        using var call = Enter(Point.Vfs);
        return VfioResult.Ok;
    }

    private Call Enter(Point point)
    {
        if (Interlocked.Increment(ref callers) > 1)
            Overlap ??= Environment.StackTrace;
        try
        {
            Traps.Pass(point);
        }
        catch
        {
            Interlocked.Decrement(ref callers);
            throw;
        }

        return new Call(this);
    }

    private readonly struct Call(LabFunction function) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref function.callers);
    }
}

/// <summary>Four MSI vectors.</summary>
internal sealed class LabInterrupts : IFunctionInterrupts
{
    public int Allocated { get; private set; }

    public bool HasLine => false;

    public bool CanGrowMsix => false;

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive) => VfioResult.Fail(Errno.ENODEV, "There is no line.");

    public void DisconnectLine()
    {
    }

    public void MaskLine(bool masked)
    {
    }

    public VfioResult<int> Allocate(IrqIndex type, int count)
    {
        Allocated = count;
        return count;
    }

    public VfioResult Grow(int vector) => VfioResult.Fail(Errno.EINVAL, "Vectors cannot be added.");

    public void Free() => Allocated = 0;

    public VfioResult Connect(int vector, IEventTarget handler) => VfioResult.Ok;

    public void Disconnect(int vector)
    {
    }
}

/// <summary>A bus whose functions share one slot, or share nothing.</summary>
internal sealed class LabBus(bool together, params LabFunction[] functions) : IPciBus
{
    public Traps Traps { get; } = new();

    public int Resets { get; private set; }

    public VfioResult Outcome { get; set; } = VfioResult.Ok;

    public IReadOnlyList<IPciFunction> Functions => functions;

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) => [.. functions.Select(static function => function.Address)];

    public VfioResult ResetLink(PciAddress source) => VfioResult.Ok;

    public HotResetScope? HotResetScopeOf(PciAddress function) =>
        together ? new HotResetScope(HotResetKind.Slot, [.. functions.Select(static member => member.Address)]) : null;

    public VfioResult HotReset(PciAddress function)
    {
        Traps.Pass(Point.BusReset);
        Resets++;
        return Outcome;
    }

    public ImmutableArray<PciAddress> PowerScopeOf(PciAddress function) => together ? [.. functions.Select(static member => member.Address)] : [];

    public VfioResult CyclePower(PciAddress function)
    {
        Traps.Pass(Point.Power);
        return VfioResult.Ok;
    }

    public void ReportTo(Action<BusEvent> sink)
    {
    }
}
