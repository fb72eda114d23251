using Fabric.Node.Api;

namespace Fabric.Cli.Demo;

/// <summary>How the rest of a fabric takes the death of a control node, by the events that another one tells.</summary>
internal static class DeathNotice
{
    public const string Noticed = "death noticed";
    public const string PutOut = "put out of the fabric";

    /// <summary>Tells each milestone as it comes, and ends with the last: nothing of the dead node is taken over before it is put out.</summary>
    /// <exception cref="CommandFailure">The events ended first.</exception>
    public static async Task FollowAsync(IAsyncEnumerable<EventResource> events, string killed, Action<string> reach)
    {
        await foreach (var happened in events)
        {
            if (happened.Subject != killed)
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
