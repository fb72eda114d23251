using Fabric.Migration.Hosts.Runs;

namespace Fabric.Migration.Tests.Simulation.Checking;

/// <summary>A law that a run broke, and where it shows.</summary>
/// <param name="Law"><c>L1</c>, <c>L2</c> or <c>L3</c>.</param>
internal sealed record Violation(string Law, string Claim, string What, RunRecord? At)
{
    public override string ToString() => $"{Law} {Claim}: {What}{(At is null ? "" : $" [{At.ToLine()}]")}";
}

/// <summary>What a run is held to.</summary>
/// <param name="Uncertainty">How far the clocks of those who tell may be apart: two runners that overlap for less are not known to.</param>
/// <param name="Bound">The longest from the last fault to each claim being at rest.</param>
/// <param name="MayStop">Whether the policy of a claim gives it this reason to stop.</param>
internal sealed record CheckedBounds(TimeSpan Uncertainty, TimeSpan Bound, Func<string, string, bool> MayStop);

/// <summary>
/// Holds a record of a run to the laws. L1: no two functions of a claim make steps at the same time. L2: steps go on where they stopped, with
/// the state that was saved; they begin anew only under a generation of their own. L3: each claim comes to rest in time, and is what it says.
/// </summary>
internal static class Checker
{
    /// <param name="records">In the order in which they were told, which breaks ties of their times.</param>
    public static IReadOnlyList<Violation> Check(IEnumerable<RunRecord> records, CheckedBounds bounds)
    {
        var ordered = records.OrderBy(static record => record.At).ToArray();
        var lastFault = ordered.LastOrDefault(static record => record.What == RunEvent.Fault)?.At ?? 0;
        return [.. ordered.Where(static record => record.Claim.Length > 0).GroupBy(static record => record.Claim)
            .SelectMany(claim => new ClaimCheck(claim.Key, [.. claim], bounds, lastFault).Check())];
    }

    /// <summary>Steps made without a break at one place.</summary>
    private sealed record Span(RunRecord Start)
    {
        public RunRecord? End { get; set; }

        public bool IsAt(RunRecord record) => (Start.Host, Start.Function) == (record.Host, record.Function);
    }

    private sealed class ClaimCheck(string claim, RunRecord[] records, CheckedBounds bounds, long lastFault)
    {
        private readonly List<Violation> found = [];
        private readonly List<Span> spans = [];

        public List<Violation> Check()
        {
            Measure();
            OneRunner();
            NothingLost();
            Rests();
            return found;
        }

        private void Measure()
        {
            foreach (var record in records)
            {
                var open = spans.FindLast(span => span.End is null && span.IsAt(record));
                switch (record.What)
                {
                    case RunEvent.Afresh or RunEvent.Started:
                        if (open is not null)
                            Found("L1", "it was started while it ran", record);
                        spans.Add(new Span(record));
                        break;
                    case RunEvent.Stopped or RunEvent.Lost when open is not null:
                        open.End = record;
                        break;
                }
            }
        }

        private void OneRunner()
        {
            for (var later = 1; later < spans.Count; later++)
            {
                // Spans are in order of their starts: an overlap, if there is one, is with one that ends after this begins.
                for (var earlier = 0; earlier < later; earlier++)
                {
                    var (first, second) = (spans[earlier], spans[later]);
                    var end = Math.Min(first.End?.At ?? long.MaxValue, second.End?.At ?? long.MaxValue);
                    var overlap = end == long.MaxValue ? long.MaxValue : end - second.Start.At;
                    if (overlap > bounds.Uncertainty.TotalMicroseconds)
                        Found("L1", $"runs on {Place(second.Start)} while it runs on {Place(first.Start)}, for {(end == long.MaxValue ? "ever" : $"{overlap} µs")}", second.Start);
                }
            }
        }

        private void NothingLost()
        {
            var holders = new HashSet<string>();
            var acknowledged = 0L;
            RunRecord? stopped = null;
            RunRecord? saved = null;
            var since = new Dictionary<string, long>();
            RunRecord? thrownAway = null;
            var told = false;
            RunRecord? decided = null;
            foreach (var record in records)
            {
                var place = Place(record);
                switch (record.What)
                {
                    case RunEvent.Acknowledged:
                        acknowledged = Math.Max(acknowledged, record.Generation);
                        told = true;
                        break;
                    case RunEvent.Afresh:
                        if (record.Generation <= acknowledged)
                            Found("L2", $"begins anew under generation {record.Generation}, under which it had worked already", record);
                        ThrownAway(thrownAway);
                        (thrownAway, told) = (null, false);
                        since[place] = record.Step;
                        holders.Clear();
                        break;
                    case RunEvent.Started:
                        if (!holders.Contains(place))
                            Found("L2", $"goes on at {place}, which does not have its state", record);
                        else if (record.Step != stopped?.Step)
                            Found("L2", $"goes on with step {record.Step}, and stopped before {stopped?.Step}", record);
                        since[place] = record.Step;
                        holders.Clear();
                        break;
                    case RunEvent.Stopped:
                        if (since.Remove(place, out var first) && record.Step < first)
                            Found("L2", $"counted from {first} back to {record.Step}", record);
                        stopped = record;
                        holders.Clear();
                        holders.Add(place);
                        break;
                    case RunEvent.Lost:
                        // What was lost by itself was no copy of anything that is left.
                        if ((since.Remove(place) | holders.Remove(place)) && since.Count == 0 && holders.Count == 0)
                            thrownAway = told && record.Reason == "closed" ? record : null;
                        break;
                    case RunEvent.Decided:
                        decided = record;
                        holders.RemoveWhere(holder => holder != place);
                        break;
                    case RunEvent.Rest when record.Rest == RestKind.Stopped:
                        ThrownAway(thrownAway);
                        break;
                    case RunEvent.Saved:
                        saved = record;
                        break;
                    case RunEvent.Loaded:
                        if (record.Hash == saved?.Hash && saved?.Step == stopped?.Step && !(decided is not null && record.Generation <= decided.Generation && Place(decided) != place))
                            holders.Add(place);
                        else
                            holders.Remove(place);
                        break;
                }
            }
        }

        private void ThrownAway(RunRecord? last)
        {
            if (last is not null)
                Found("L2", "its last copy was closed, and nothing had happened to it", last);
        }

        private void Rests()
        {
            var open = spans.FindAll(static span => span.End is null);
            var rest = records.LastOrDefault(static record => record.What == RunEvent.Rest);
            if (rest is null)
            {
                Found("L3", "does not come to rest", null);
                return;
            }

            if (rest.At - lastFault > bounds.Bound.TotalMicroseconds)
                Found("L3", $"came to rest {(rest.At - lastFault) / 1_000_000.0:0.0} s after the last fault, and has {bounds.Bound.TotalSeconds:0.0} s", rest);
            if (Array.Find(records, record => record.At > rest.At && record.What is (RunEvent.Afresh or RunEvent.Started or RunEvent.Stopped)) is { } disturbed)
                Found("L3", "was disturbed after it had come to rest, and does not come to rest again", disturbed);
            switch (rest.Rest)
            {
                case RestKind.Runs when !(open is [var only] && only.IsAt(rest)):
                    Found("L3", $"says that it runs on {Place(rest)}, and runs on {(open.Count == 0 ? "none" : string.Join(", ", open.Select(span => Place(span.Start))))}", rest);
                    break;
                case not RestKind.Runs when open.Count > 0:
                    Found("L3", $"says that it runs nowhere, and runs on {Place(open[0].Start)}", rest);
                    break;
                case RestKind.Stopped when !bounds.MayStop(claim, rest.Reason ?? ""):
                    Found("L3", $"has stopped, and its policy does not say so: {rest.Reason}", rest);
                    break;
            }
        }

        private static string Place(RunRecord record) => $"{record.Host}/{record.Function}";

        private void Found(string law, string what, RunRecord? at) => found.Add(new Violation(law, claim, what, at));
    }
}
