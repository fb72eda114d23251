using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mdev;

/// <summary>A type of an emulated parent.</summary>
/// <param name="Cost">What one of them takes of what the parent has.</param>
internal sealed record EmulatedMdevType(string Id, string Name, string Description, int Cost, Func<PciAddress, VfioResult<IPciFunction>> Make);

/// <summary>A parent in software: so much of something, of which each device takes its part until it is removed.</summary>
/// <param name="capacity">Of which so much is there in all.</param>
/// <param name="unit">What it is counted in, in the plural.</param>
internal sealed class EmulatedMdevParent(string name, int capacity, string unit, ImmutableArray<EmulatedMdevType> types) : IMdevParent
{
    private readonly Lock gate = new();
    private readonly Dictionary<Guid, (IPciFunction Function, int Cost)> made = [];

    public string Name => name;

    public ImmutableArray<MdevType> Types
    {
        get
        {
            lock (gate)
            {
                var left = Left;
                return [.. types.Select(type => new MdevType(type.Id, type.Name, type.Description, left / type.Cost))];
            }
        }
    }

    private int Left => capacity - made.Values.Sum(static one => one.Cost);

    public VfioResult<IPciFunction> Create(string type, Guid uuid, PciAddress address)
    {
        if (types.FirstOrDefault(known => known.Id == type) is not { } wanted)
            return new VfioError(Errno.EINVAL, $"{name} has no type '{type}'; it has {string.Join(", ", types.Select(static known => known.Id))}.");
        lock (gate)
        {
            if (made.ContainsKey(uuid))
                return new VfioError(Errno.EEXIST, $"{name} has made a device {uuid} already.");
            if (wanted.Cost > Left)
            {
                var left = Left == 1 ? "1 is" : $"{Left} are";
                return new VfioError(
                    Errno.ENOSPC, $"{wanted.Id} takes {wanted.Cost} of the {capacity} {unit} of {name}, and {left} left; stop another first.");
            }

            var function = wanted.Make(address);
            if (function.IsOk)
                made.Add(uuid, (function.Value, wanted.Cost));
            return function;
        }
    }

    public VfioResult Remove(Guid uuid)
    {
        lock (gate)
        {
            if (!made.Remove(uuid, out var gone))
                return VfioResult.Fail(Errno.ENODEV, $"{name} has made no device {uuid}.");
            (gone.Function as IDisposable)?.Dispose();
            return VfioResult.Ok;
        }
    }
}
