using System.Collections.Immutable;
using Fabric.Devices.Mdev;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Mdev;

/// <summary>A disk in memory, which takes its time or fails when a test says so.</summary>
internal sealed class FakeStore(params MdevDefinition[] definitions) : IMdevStore
{
    private readonly Lock gate = new();
    private readonly List<MdevDefinition> kept = [.. definitions];

    public ImmutableArray<UnusableDefinition> Unusable { get; init; } = [];

    public Exception? Unreadable { get; init; }

    public VfioResult Full { get; set; } = VfioResult.Ok;

    /// <summary>Writes do not go on before this is set.</summary>
    public ManualResetEventSlim Open { get; } = new(true);

    public MdevDefinition[] Kept
    {
        get
        {
            lock (gate)
                return [.. kept];
        }
    }

    public StoredDefinitions Load() => Unreadable is { } why ? throw why : new StoredDefinitions([.. Kept], Unusable);

    public VfioResult Save(MdevDefinition definition) => Write(() => kept.Add(definition));

    public VfioResult Delete(MdevDefinition definition) => Write(() => kept.Remove(definition));

    private VfioResult Write(Action change)
    {
        Open.Wait();
        lock (gate)
        {
            if (Full.IsOk)
                change();
            return Full;
        }
    }
}
