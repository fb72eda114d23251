using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Mdev;

/// <summary>A mediated device that there is.</summary>
/// <param name="Parent">The name of what made it.</param>
/// <param name="Type">The id of its type.</param>
/// <param name="Function">An ordinary function, at an address of <see cref="MdevBus.Domain"/>.</param>
public sealed record MdevInstance(Guid Uuid, string Parent, string Type, IPciFunction Function);

/// <summary>
/// The mediated devices of a host as a bus of it: they come when they are made and go when they are removed, as hot-added functions do, and have
/// no slot, no link and no power of their own. Safe to use from any thread; no parent is called with its lock held.
/// </summary>
public sealed class MdevBus : IPciBus
{
    /// <summary>Out of the way of real ones and of emulated ones.</summary>
    public const ushort Domain = 0xfabd;

    /// <summary>Whether a domain is its own.</summary>
    public static bool Has(ushort domain) => domain == Domain;

    private readonly Lock gate = new();

    /// <summary>UUIDs by the address that they have, or are to have: also of those that are being made.</summary>
    private readonly Dictionary<PciAddress, Guid> taken = [];

    private volatile Snapshot there = new([]);
    private volatile Action<BusEvent>? sink;

    /// <exception cref="ArgumentException">Two parents of one name.</exception>
    public MdevBus(params ImmutableArray<IMdevParent> parents)
    {
        if (parents.DistinctBy(static parent => parent.Name).Count() != parents.Length)
            throw new ArgumentException("Two parents have one name.", nameof(parents));
        Parents = parents;
    }

    /// <summary>What devices can be made of.</summary>
    public ImmutableArray<IMdevParent> Parents { get; }

    public ImmutableArray<MdevInstance> Instances => there.Instances;

    public IReadOnlyList<IPciFunction> Functions => there.Functions;

    public IMdevParent? FindParent(string name) => Parents.FirstOrDefault(parent => parent.Name == name);

    public MdevInstance? Find(PciAddress address) =>
        address.Domain == Domain ? there.Instances.FirstOrDefault(instance => instance.Function.Address == address) : null;

    /// <summary>
    /// Has a parent make a device, which appears on the bus. Its address follows from its UUID; where another one has that, it is the next free one.
    /// Errors: ENODEV no such parent; EEXIST that UUID is there, or being made; ENOSPC; the parent's own.
    /// </summary>
    public VfioResult<MdevInstance> Create(string parentName, string type, Guid uuid)
    {
        if (FindParent(parentName) is not { } parent)
            return new VfioError(Errno.ENODEV, $"There is no mdev parent '{parentName}' on this host.");
        var reserved = Reserve(uuid);
        if (!reserved.IsOk)
            return reserved.Error;
        VfioResult<IPciFunction> created;
        try
        {
            created = parent.Create(type, uuid, reserved.Value);
        }
        catch
        {
            Free(reserved.Value);
            throw;
        }

        if (!created.IsOk)
        {
            Free(reserved.Value);
            return created.Error;
        }

        var instance = new MdevInstance(uuid, parentName, type, created.Value);
        lock (gate)
            there = new Snapshot([.. there.Instances.Add(instance).OrderBy(static other => other.Function.Address)]);
        sink?.Invoke(new FunctionAppeared(instance.Function));
        return instance;
    }

    /// <summary>Where its UUID puts a device that has the bus to itself: all bits of the UUID folded into device, bus and function.</summary>
    public static PciAddress AddressOf(Guid uuid)
    {
        Span<byte> bytes = stackalloc byte[16];
        uuid.TryWriteBytes(bytes, bigEndian: true, out _);
        var folded = 0;
        for (var at = 0; at < bytes.Length; at += 2)
            folded ^= (bytes[at] << 8) | bytes[at + 1];
        return PciAddress.FromRoutingId(Domain, (ushort)folded);
    }

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) => Find(source) is null ? [] : [source];

    public VfioResult ResetLink(PciAddress source) => VfioResult.Fail(Errno.ENODEV, "A mediated device has no link of its own to reset.");

    /// <summary>Its host has let it go, and knows: nobody is told.</summary>
    public VfioResult Remove(PciAddress function)
    {
        if (Find(function) is not { } instance)
            return VfioResult.Fail(Errno.ENODEV, "There is no mediated device at this address.");
        var removed = FindParent(instance.Parent)!.Remove(instance.Uuid);
        if (!removed.IsOk)
            return removed;
        lock (gate)
        {
            there = new Snapshot(there.Instances.Remove(instance));
            taken.Remove(function);
        }

        return VfioResult.Ok;
    }

    public void ReportTo(Action<BusEvent> sink) => this.sink = sink;

    private VfioResult<PciAddress> Reserve(Guid uuid)
    {
        lock (gate)
        {
            if (taken.ContainsValue(uuid))
                return new VfioError(Errno.EEXIST, $"There is a mediated device {uuid} on this host already, or it is being made.");
            var address = AddressOf(uuid);
            for (var tried = 0; tried <= ushort.MaxValue; tried++)
            {
                if (taken.TryAdd(address, uuid))
                    return address;
                address = PciAddress.FromRoutingId(Domain, (ushort)(address.RoutingId + 1));
            }

            return new VfioError(Errno.ENOSPC, "This host has no address left for another mediated device.");
        }
    }

    private void Free(PciAddress address)
    {
        lock (gate)
            taken.Remove(address);
    }

    /// <summary>What is there at one moment, by address.</summary>
    private sealed class Snapshot(ImmutableArray<MdevInstance> instances)
    {
        public ImmutableArray<MdevInstance> Instances { get; } = instances;

        public IReadOnlyList<IPciFunction> Functions { get; } = [.. instances.Select(static instance => instance.Function)];
    }
}
