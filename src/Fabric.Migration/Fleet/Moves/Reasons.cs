namespace Fabric.Migration.Fleet.Moves;

/// <summary>Why hosts are not for a claim: the first few reasons, and how many more there are. Nobody reads a thousand, and no message takes them.</summary>
internal sealed class Reasons
{
    public const int Most = 8;

    private readonly List<string> first = [];
    private int more;

    public bool Any => first.Count > 0;

    public string[] Lines => more == 0 ? [.. first] : [.. first, $"There are {more} more reasons; name a host to see its own."];

    public void Add(string reason)
    {
        if (first.Count < Most)
            first.Add(reason);
        else
            more++;
    }

    public void Add(IEnumerable<string> reasons, int others = 0)
    {
        foreach (var reason in reasons)
            Add(reason);
        more += others;
    }

    public override string ToString() => string.Join(' ', Lines);
}
