namespace Fabric.Migration.Wire;

/// <summary>What would be one message in a small fabric, and must be several in a large one.</summary>
internal static class Portions
{
    /// <summary>About half of <see cref="WireContract.MaxMessageBytes"/>: what goes round a portion has room beside it.</summary>
    public const int Bytes = WireContract.MaxMessageBytes / 2;

    /// <summary>The same items in the same order, as few portions of them as there can be; at least one, which may be empty.</summary>
    public static IReadOnlyList<Portion<T>> Cut<T>(IEnumerable<T> items, Func<T, int> weigh)
    {
        var portions = new List<Portion<T>>();
        var (held, bytes) = (new List<T>(), 0);
        foreach (var item in items)
        {
            var weight = weigh(item);
            if (held.Count > 0 && bytes + weight > Bytes)
            {
                portions.Add(new Portion<T>(held, bytes));
                (held, bytes) = ([], 0);
            }

            held.Add(item);
            bytes += weight;
        }

        return [.. portions, new Portion<T>(held, bytes)];
    }

    /// <summary>The first of the items that go into one message together, and how many follow.</summary>
    public static (T[] Shown, int More) Fitting<T>(IReadOnlyCollection<T> items)
        where T : notnull
    {
        var shown = Fitting(items, items.Count);
        return (shown, items.Count - shown.Length);
    }

    /// <summary>The first of the items, this many at most, that go into one message together.</summary>
    public static T[] Fitting<T>(IReadOnlyCollection<T> items, int most)
        where T : notnull
    {
        var bytes = 0;
        return [.. items.Take(most).TakeWhile(item => (bytes += WireWeight.Of(item)) <= Bytes)];
    }
}

internal readonly record struct Portion<T>(IReadOnlyList<T> Items, int Bytes);
