using System.Diagnostics.CodeAnalysis;

namespace Fabric.Migration.Fleet;

/// <summary>One of the portions in which something is told that may be larger than a message.</summary>
/// <param name="Life">Of who tells: each counts its versions anew.</param>
/// <param name="Version">Counted from 1; the same again where the same is told again.</param>
/// <param name="Portion">Counted from 0.</param>
/// <param name="Bytes">What the portion takes on the wire at most, as who tells has weighed it.</param>
public sealed record Telling(Guid Life, long Version, int Portion, int Portions, int Bytes)
{
    public bool IsLast => Portion == Portions - 1;

    /// <summary>Of the same whole.</summary>
    public bool IsOf([NotNullWhen(true)] Telling? other) => other is not null && Life == other.Life && Version == other.Version;
}

/// <summary>
/// What one teller has told, put together: shown as it was when all of it had come last, never a mixture of two versions. In one life a version is
/// never followed by an older one; what is left over of an earlier life is set right by what the teller says of itself next.
/// </summary>
/// <param name="join">Makes one of all portions, in their order.</param>
internal sealed class Told<T>(Func<IReadOnlyList<T>, T> join)
    where T : class
{
    /// <summary>More than any teller makes; a number that is not believed.</summary>
    private const int MostPortions = 4096;

    private (Telling Telling, T Part)?[] coming = [];
    private int missing;

    /// <summary>Null where nothing has come wholly yet.</summary>
    public T? Whole { get; private set; }

    /// <summary>Those of <see cref="Whole"/>, as they came.</summary>
    public IReadOnlyList<(Telling Telling, T Part)> Parts { get; private set; } = [];

    public bool Has(Guid life, long version) => Parts.Count > 0 && Parts[0].Telling is var shown && shown.Life == life && shown.Version >= version;

    /// <returns>Whether it was what <see cref="Whole"/> lacked.</returns>
    public bool Take(Telling telling, T part)
    {
        if (telling.Portions is < 1 or > MostPortions || telling.Portion < 0 || telling.Portion >= telling.Portions || Has(telling.Life, telling.Version))
            return false;
        var first = Array.Find(coming, static one => one is not null)?.Telling;
        if (first is not null && first.Life == telling.Life && first.Version > telling.Version)
            return false;
        if (!telling.IsOf(first) || coming.Length != telling.Portions)
            (coming, missing) = (new (Telling, T)?[telling.Portions], telling.Portions);
        if (coming[telling.Portion] is not null)
            return false;
        coming[telling.Portion] = (telling, part);
        if (--missing > 0)
            return false;
        Parts = [.. coming.Select(static one => one!.Value)];
        Whole = Parts.Count == 1 ? part : join([.. Parts.Select(static one => one.Part)]);
        coming = [];
        return true;
    }

    /// <summary>Where a reader goes on after what it had last: the next portion of the same whole, or the first of what is shown by now.</summary>
    public int After(Telling? last) => last is not null && Parts.Count > 0 && last.IsOf(Parts[0].Telling) ? last.Portion + 1 : 0;
}
