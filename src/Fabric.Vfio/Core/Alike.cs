namespace Fabric.Vfio.Core;

/// <summary>
/// What many functions of a host have alike, kept once: a host has very many functions, of few kinds. Of more kinds than it looks through, the
/// others have copies of their own. Nobody changes what he is given. Thread-safe.
/// </summary>
internal sealed class Alike<T>
{
    private const int Kinds = 16;

    private readonly Lock gate = new();
    private readonly List<T[]> known = [];

    public T[] Share(IReadOnlyList<T> wanted)
    {
        // Hardware is asked without the gate.
        T[] copy = [.. wanted];
        lock (gate)
        {
            foreach (var kind in known)
            {
                if (kind.AsSpan().SequenceEqual(copy))
                    return kind;
            }

            if (known.Count < Kinds)
                known.Add(copy);
        }

        return copy;
    }
}
