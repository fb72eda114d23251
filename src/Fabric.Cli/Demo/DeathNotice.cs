using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>How the rest of a fabric takes the death of a control node, by the events that another one tells.</summary>
internal static class DeathNotice
{
    public const string Noticed = "death noticed";
    public const string PutOut = "put out of the fabric";

    /// <summary>Tells each milestone as it comes, and ends with the last: nothing of the dead node is taken over before it is put out.</summary>
    /// <param name="killedAt">What is told of before is of another time: a busy node may be missed for a moment, and found again.</param>
    /// <exception cref="CommandFailure">The events ended first.</exception>
    public static async Task FollowAsync(
        IAsyncEnumerable<EventResource> events, string killed, DateTimeOffset killedAt, Action<string> reach)
    {
        await foreach (var happened in events)
        {
            if (happened.Subject != killed || happened.Time < killedAt)
                continue;
            switch (happened.Kind)
            {
                case "node.unreachable":
                    reach(Noticed);
                    break;
                case "node.down":
                    reach(PutOut);
                    return;
            }
        }

        throw new CommandFailure($"The events ended before they told that {killed} was put out of the fabric.");
    }
}
