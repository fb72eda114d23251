using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Mdev;

/// <summary>Makes functions that only remember: so many in all, of two types, and not before a test lets it.</summary>
internal sealed class FakeParent(string name = "cutter", int capacity = 4) : IMdevParent
{
    private readonly Lock gate = new();
    private readonly Dictionary<Guid, (FakeFunction Function, int Cost)> made = [];

    public string Name => name;

    public string Half => $"{name}-half";

    public string Whole => $"{name}-whole";

    /// <summary>What it refuses to make or to take back with; none while it is well.</summary>
    public VfioResult Sick { get; set; } = VfioResult.Ok;

    public bool Throws { get; set; }

    /// <summary>Thrown once, by whoever looks at the types next.</summary>
    public Exception? Trap { get; set; }

    /// <summary>Calls to make something do not go on before this is set.</summary>
    public ManualResetEventSlim Open { get; } = new(true);

    public ImmutableArray<MdevType> Types
    {
        get
        {
            if (Trap is { } trap)
            {
                Trap = null;
                throw trap;
            }

            lock (gate)
                return [new MdevType(Half, "half", "one of it", Left), new MdevType(Whole, "whole", "two of it", Left / 2)];
        }
    }

    public Guid[] Made
    {
        get
        {
            lock (gate)
                return [.. made.Keys];
        }
    }

    private int Left => capacity - made.Values.Sum(static one => one.Cost);

    public VfioResult<IPciFunction> Create(string type, Guid uuid, PciAddress address)
    {
        Open.Wait();
        if (Throws)
            throw new InvalidOperationException("the blade broke");
        if (!Sick.IsOk)
            return Sick.Error;
        lock (gate)
        {
            var cost = type == Whole ? 2 : 1;
            if (cost > Left)
                return new VfioError(Errno.ENOSPC, $"{type} takes {cost}, and {Left} are left.");
            var function = new FakeFunction { Address = address, IommuGroup = address.RoutingId };
            made.Add(uuid, (function, cost));
            return function;
        }
    }

    public VfioResult Remove(Guid uuid)
    {
        if (!Sick.IsOk)
            return Sick;
        lock (gate)
            return made.Remove(uuid) ? VfioResult.Ok : VfioResult.Fail(Errno.ENODEV, "It was never made.");
    }
}
