namespace Fabric.Cli.Demo;

/// <summary>Counts from a kill. Milestones may be reached from several tasks, in any order.</summary>
internal sealed class FailoverClock(TimeProvider time)
{
    private readonly long _start = time.GetTimestamp();
    private readonly Lock _gate = new();
    private readonly List<(string Name, TimeSpan At)> _milestones = [];

    public TimeSpan Elapsed => time.GetElapsedTime(_start);

    /// <returns>Time since the kill.</returns>
    public TimeSpan Reach(string milestone)
    {
        lock (_gate)
        {
            var at = Elapsed;
            _milestones.Add((milestone, at));
            return at;
        }
    }

    /// <summary>The failover that ended with <paramref name="last"/>, which has been reached.</summary>
    public Failover Stop(string killed, string last)
    {
        lock (_gate)
        {
            var end = _milestones.Single(milestone => milestone.Name == last).At;
            var parts = new List<FailoverPart>();
            var before = TimeSpan.Zero;
            foreach (var (name, at) in _milestones.Where(milestone => milestone.At <= end).OrderBy(milestone => milestone.At))
            {
                parts.Add(new FailoverPart(name, Math.Round((at - before).TotalSeconds, 3)));
                before = at;
            }

            return new Failover(killed, Math.Round(end.TotalSeconds, 3), last, parts);
        }
    }
}
