using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Migration;

/// <summary>A driver that performs every arc, notes it, and does otherwise when a test says so.</summary>
internal sealed class FakeMigration(MigrationFlags flags) : IMigrationOps
{
    public List<(MigrationState From, MigrationState To)> Arcs { get; } = [];

    public List<FakeData> Opened { get; } = [];

    public int Forgotten { get; private set; }

    /// <summary>Transitions that there was no way to.</summary>
    public int Illegal { get; private set; }

    /// <summary>What happens in place of an arc; null where it is performed.</summary>
    public Func<MigrationState, MigrationState, ArcResult?> Instead { get; set; } = (_, _) => null;

    public MigrationFlags Flags => flags;

    public ArcResult Perform(MigrationState from, MigrationState to)
    {
        if (Instead(from, to) is { } otherwise)
            return otherwise;
        Arcs.Add((from, to));
        return MigrationArcs.OpensStream(from, to) == StreamDirection.None ? ArcResult.Done : Open();
    }

    public ArcResult Open()
    {
        Opened.Add(new FakeData());
        return ArcResult.Opens(Opened[^1]);
    }

    public void Refused() => Illegal++;

    public VfioResult<ulong> GetDataSize() => 4096UL;

    public void Forget() => Forgotten++;
}

/// <summary>The driver's half of a stream: so many bytes to read, and what was written.</summary>
internal sealed class FakeData : IMigrationData
{
    public int Left { get; set; }

    public int Written { get; private set; }

    public bool IsClosed { get; private set; }

    public PrecopyInfo Info { get; set; }

    public VfioResult<int> Read(Span<byte> destination)
    {
        var part = Math.Min(Left, destination.Length);
        Left -= part;
        return part;
    }

    public VfioResult Write(ReadOnlySpan<byte> source)
    {
        Written += source.Length;
        return VfioResult.Ok;
    }

    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        var told = Info;
        Info = Info with { Reinit = false };
        return told;
    }

    public void Close() => IsClosed = true;
}
