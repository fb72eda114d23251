namespace Fabric.Migration.Claims;

/// <summary>
/// Whether a pre-copy gets anywhere. It does not converge when in five rounds in a row, over five seconds at least, the predicted downtime did
/// not become a tenth shorter than the shortest before them: the workload changes its state as fast as it is sent. The time is there for
/// workloads that change much for a moment. Pure.
/// </summary>
public sealed record Convergence
{
    private const int Rounds = 5;

    private const double Progress = 0.9;

    private static readonly TimeSpan Least = TimeSpan.FromSeconds(5);

    private int round;
    private TimeSpan since;

    /// <summary>Of a pre-copy that no round of is known.</summary>
    public static Convergence Unknown { get; } = new();

    /// <summary>The shortest downtime that was predicted; infinite before the first.</summary>
    public double ShortestMs { get; private init; } = double.PositiveInfinity;

    /// <summary>Rounds in a row that made it no tenth shorter.</summary>
    public int Fruitless { get; private init; }

    public bool IsMissing { get; private init; }

    /// <param name="ended">The round, counted from 1; told of again it changes nothing.</param>
    /// <param name="predictedMs">The downtime that is predicted after it.</param>
    /// <param name="at">When it ended, by a clock that only goes forwards.</param>
    public Convergence After(int ended, double predictedMs, TimeSpan at)
    {
        if (ended <= round)
            return this;
        if (predictedMs <= ShortestMs * Progress)
            return new Convergence { round = ended, since = at, ShortestMs = predictedMs };
        var fruitless = Fruitless + 1;
        return this with { round = ended, Fruitless = fruitless, IsMissing = fruitless >= Rounds && at - since >= Least };
    }
}
