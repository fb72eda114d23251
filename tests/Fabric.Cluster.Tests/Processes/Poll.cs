using System.Diagnostics;

namespace Fabric.Cluster.Tests.Processes;

/// <summary>Waits for what another process does and has no signal for: asks again until it is so, or fails saying what it saw last.</summary>
internal static class Poll
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);

    /// <summary>Long enough for a machine that is busy with other things; nothing waits it out that goes well.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    /// <param name="what">What is waited for, as the end of "waited for …".</param>
    /// <param name="look">A look that cannot be taken, such as at a daemon that is not up yet, is taken again.</param>
    /// <param name="describe">What the last look showed, in words, for the message.</param>
    public static async Task<T> UntilAsync<T>(
        string what, Func<Task<T>> look, Func<T, bool> holds, Func<T, string>? describe = null, TimeSpan? patience = null)
    {
        var limit = patience ?? Patience;
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            string seen;
            try
            {
                var now = await look();
                if (holds(now))
                    return now;
                seen = describe?.Invoke(now) ?? $"{now}";
            }
            catch (HttpRequestException away)
            {
                seen = away.Message;
            }

            if (Stopwatch.GetElapsedTime(started) > limit)
                throw new TimeoutException($"Waited {limit.TotalSeconds:0} s for {what}. Last seen: {seen}");
            await Task.Delay(Interval, TestContext.Current.CancellationToken);
        }
    }
}
