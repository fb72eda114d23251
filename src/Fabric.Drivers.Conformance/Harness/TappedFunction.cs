using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Conformance.Harness;

/// <summary>
/// A function as it is, but for what a check does before an access to its BARs, a command to its PF, or memory of the platform: where drivers
/// touch hardware.
/// </summary>
internal sealed class TappedFunction(IPciFunction inner) : IPciFunction, IFunctionPlatform
{
    private volatile Action? before;

    public IPciFunction Inner => inner;

    /// <summary>Before each access; null for nothing.</summary>
    public Action? Before
    {
        get => before;
        set => before = value;
    }

    public bool HasDma { get; private set; }

    public PciAddress Address => inner.Address;

    public PciIds Ids => inner.Ids;

    public FunctionTraits Traits => inner.Traits;

    PciAddress? IPciFunction.PhysicalFunction => inner.PhysicalFunction;

    public int? IommuGroup => inner.IommuGroup;

    public int ConfigSize => inner.ConfigSize;

    public IReadOnlyList<PciBar> Bars => inner.Bars;

    public PciRom Rom => inner.Rom;

    public AtomicCompletion Atomics => inner.Atomics;

    public IReadOnlyList<string> ResetMethods => inner.ResetMethods;

    public IFunctionInterrupts Interrupts => inner.Interrupts;

    public IFunctionPlatform Platform => this;

    IPfChannel? IFunctionPlatform.PhysicalFunction => inner.Platform.PhysicalFunction is { } channel ? new TappedChannel(this, channel) : null;

    public void ReadConfig(int offset, Span<byte> destination) => inner.ReadConfig(offset, destination);

    public void WriteConfig(int offset, ReadOnlySpan<byte> source) => inner.WriteConfig(offset, source);

    public VfioResult ClaimBar(int bar) => inner.ClaimBar(bar);

    public void ReleaseBar(int bar) => inner.ReleaseBar(bar);

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        Before?.Invoke();
        return inner.ReadRegion(region, offset, destination);
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        Before?.Invoke();
        return inner.WriteRegion(region, offset, source);
    }

    public VfioResult Reset(string method) => inner.Reset(method);

    public void ConnectDma(IDmaSpace? space)
    {
        HasDma = space is not null;
        inner.ConnectDma(space);
    }

    public VfioResult SetVirtualFunctions(int count) => inner.SetVirtualFunctions(count);

    public bool TryGetProperty(string name, out ulong value) => inner.Platform.TryGetProperty(name, out value);

    public VfioResult<IPlatformMemory> MapMemory(ulong address, ulong bytes)
    {
        var mapped = inner.Platform.MapMemory(address, bytes);
        return mapped.IsOk ? VfioResult.Of<IPlatformMemory>(new TappedMemory(this, mapped.Value)) : mapped;
    }

    public VfioResult ReadConfig(PciAddress function, int offset, Span<byte> destination) => inner.Platform.ReadConfig(function, offset, destination);

    private sealed class TappedChannel(TappedFunction function, IPfChannel inner) : IPfChannel
    {
        public string Protocol => inner.Protocol;

        public VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
        {
            function.Before?.Invoke();
            return inner.Execute(command, reply);
        }

        public VfioResult Submit(ReadOnlyMemory<byte> command, Memory<byte> reply, Action<VfioResult<int>> completed)
        {
            function.Before?.Invoke();
            return inner.Submit(command, reply, completed);
        }

        public void ReportTo(Action<PfEvent>? sink) => inner.ReportTo(sink);
    }

    private sealed class TappedMemory(TappedFunction function, IPlatformMemory inner) : IPlatformMemory
    {
        public ulong Size => inner.Size;

        public VfioResult Read(ulong offset, Span<byte> destination)
        {
            function.Before?.Invoke();
            return inner.Read(offset, destination);
        }

        public VfioResult Write(ulong offset, ReadOnlySpan<byte> source)
        {
            function.Before?.Invoke();
            return inner.Write(offset, source);
        }
    }
}

/// <summary>A bus on which one function is the tapped one; of its own, it is alone there.</summary>
internal sealed class TappedBus(TappedFunction function, IPciBus? inner) : IPciBus
{
    public IReadOnlyList<IPciFunction> Functions => inner is null
        ? [function]
        : [.. inner.Functions.Select(there => there.Address == function.Address ? function : there)];

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) => inner?.RecoveryScope(source) ?? [source];

    public VfioResult ResetLink(PciAddress source) => inner?.ResetLink(source) ?? VfioResult.Ok;

    public HotResetScope? HotResetScopeOf(PciAddress address) => inner?.HotResetScopeOf(address);

    public VfioResult HotReset(PciAddress address) =>
        inner?.HotReset(address) ?? VfioResult.Fail(Errno.ENODEV, "Neither the slot nor the bus of this function can be reset.");

    public ImmutableArray<PciAddress> PowerScopeOf(PciAddress address) => inner?.PowerScopeOf(address) ?? [];

    public VfioResult CyclePower(PciAddress address) =>
        inner?.CyclePower(address) ?? VfioResult.Fail(Errno.ENOTTY, "The slot of this function has no power controller.");

    public VfioResult Remove(PciAddress address) =>
        inner?.Remove(address) ?? VfioResult.Fail(Errno.EOPNOTSUPP, "Functions of this bus cannot be removed.");

    public void ReportTo(Action<BusEvent> sink) => inner?.ReportTo(sink);
}
