using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>
/// The functions that are there at one moment, by address. Bus numbers are given depth first, so that the order of addresses is that of a
/// bus walk, and what lies below a port is one stretch of it.
/// </summary>
internal sealed class BusSnapshot(ImmutableArray<EmulatedFunction> functions)
{
    private static readonly Comparer<EmulatedFunction> ByAddress = Comparer<EmulatedFunction>.Create(static (a, b) => a.Address.CompareTo(b.Address));

    public IReadOnlyList<IPciFunction> Functions { get; } = ImmutableArray<IPciFunction>.CastUp(functions);

    public static BusSnapshot Of(IEnumerable<EmulatedFunction> functions) => new([.. functions.Order(ByAddress)]);

    public EmulatedFunction? Find(PciAddress address)
    {
        var at = FirstFrom(address);
        return at < functions.Length && functions[at].Address == address ? functions[at] : null;
    }

    /// <summary>Everything below a port, in bus-walk order.</summary>
    public ReadOnlySpan<EmulatedFunction> Below(EmulatedPort port)
    {
        var (domain, secondary, subordinate) = (port.Address.Domain, port.Secondary, port.Subordinate);
        var first = FirstFrom(new PciAddress(domain, secondary, 0, 0));
        var length = 0;
        while (first + length < functions.Length && functions[first + length].Address is var at && at.Domain == domain && at.Bus <= subordinate)
            length++;
        return functions.AsSpan().Slice(first, length);
    }

    /// <summary>The VFs of a function that are there, in bus-walk order.</summary>
    public ImmutableArray<EmulatedFunction> VirtualFunctionsOf(EmulatedFunction physical)
    {
        var found = ImmutableArray.CreateBuilder<EmulatedFunction>();
        for (var at = FirstFrom(physical.Address); at < functions.Length && functions[at].Address is var address &&
            address.Domain == physical.Address.Domain && address.Bus == physical.Address.Bus; at++)
        {
            if (functions[at].IsVirtualFunction && functions[at].PhysicalFunction == physical.Address)
                found.Add(functions[at]);
        }

        return found.ToImmutable();
    }

    public BusSnapshot With(IEnumerable<EmulatedFunction> added)
    {
        var more = functions.AddRange(added);
        return new BusSnapshot(more.Sort(ByAddress));
    }

    public BusSnapshot Without(IReadOnlyCollection<EmulatedFunction> removed) => new(functions.RemoveAll(removed.Contains));

    /// <summary>The index of the first function at an address or after it.</summary>
    private int FirstFrom(PciAddress address)
    {
        var (low, high) = (0, functions.Length);
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (functions[middle].Address < address)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }
}
