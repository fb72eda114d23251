namespace Fabric.Cli.Api;

/// <summary>How one waits for something that is only seen by asking again.</summary>
/// <param name="Interval">Between two questions.</param>
/// <param name="Limit">Of the whole; past it the wait fails with <see cref="ExitCode.Timeout"/>.</param>
internal sealed record Patience(TimeProvider Time, TimeSpan Interval, TimeSpan Limit)
{
    /// <summary>
    /// Asks until the answer is the one waited for. A daemon that is away for the moment is asked again: a control node may be
    /// killed and come back while one watches.
    /// </summary>
    /// <param name="what">What is waited for, as the start of a sentence: <c>Claim demo is not running</c>.</param>
    /// <param name="seen">Is shown every answer, the last one included.</param>
    public async Task<T> UntilAsync<T>(
        Func<CancellationToken, Task<T>> ask, Func<T, bool> done, string what, CancellationToken cancellation, Action<T>? seen = null)
    {
        var start = Time.GetTimestamp();
        while (true)
        {
            CommandFailure? away = null;
            try
            {
                var answer = await ask(cancellation);
                seen?.Invoke(answer);
                if (done(answer))
                    return answer;
            }
            catch (CommandFailure failure) when (failure is IApiFailure { MayPass: true })
            {
                away = failure;
            }

            if (Time.GetElapsedTime(start) >= Limit)
            {
                var cause = away is null ? "" : $" Last answer: {away.Message}";
                throw new CommandFailure($"{what} after {Limit.TotalSeconds:0.#} s.{cause}", ExitCode.Timeout, away);
            }

            await Task.Delay(Interval, Time, cancellation);
        }
    }
}
