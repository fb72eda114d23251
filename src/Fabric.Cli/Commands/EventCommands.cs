using System.CommandLine;
using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric events</c></summary>
internal static class EventCommands
{
    /// <summary>A stream has no mark for "that was the past": without --follow, silence this long is taken for it.</summary>
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(1);

    public static Command Build(CommandContext context)
    {
        var follow = new Option<bool>("--follow", "-f") { Description = "Go on with what happens from now on, until interrupted." };
        return context.Command(
            "events",
            "Print what the daemon still has of past events; with -o json, one event a line.",
            invocation => invocation.Value(follow) ? FollowAsync(invocation) : PastAsync(invocation),
            follow);
    }

    private static async Task<int> FollowAsync(Invocation invocation)
    {
        try
        {
            await foreach (var happened in invocation.Api.EventsAsync(null, invocation.Cancellation))
                Print(invocation, happened);
        }
        catch (IOException broken)
        {
            // Being interrupted in the middle of a read can look like this too.
            invocation.Cancellation.ThrowIfCancellationRequested();
            throw Ended(invocation, broken);
        }

        invocation.Cancellation.ThrowIfCancellationRequested();
        throw Ended(invocation, null);
    }

    private static async Task<int> PastAsync(Invocation invocation)
    {
        using var silence = new CancellationTokenSource(Timeout.InfiniteTimeSpan, invocation.Environment.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, invocation.Cancellation);
        try
        {
            await foreach (var happened in invocation.Api.EventsAsync(() => silence.CancelAfter(Silence), either.Token))
            {
                Print(invocation, happened);
                silence.CancelAfter(Silence);
            }
        }
        catch (OperationCanceledException) when (!invocation.Cancellation.IsCancellationRequested)
        {
            return ExitCode.Ok;
        }
        catch (IOException broken) when (!either.IsCancellationRequested)
        {
            throw Ended(invocation, broken);
        }
        catch (IOException)
        {
            // A read that is called off can look broken.
            invocation.Cancellation.ThrowIfCancellationRequested();
        }

        return ExitCode.Ok;
    }

    private static void Print(Invocation invocation, ApiReply<EventResource> happened)
    {
        if (invocation.Format == OutputFormat.Json)
            invocation.Environment.Out.WriteLine(JsonText.OneLine(happened.Json));
        else
            ResourceViews.Show(invocation.OutScreen, happened.Value);
    }

    private static CommandFailure Ended(Invocation invocation, Exception? cause) => new(
        $"The event stream of {invocation.Api.Server.AbsoluteUri.TrimEnd('/')} ended: that fabricd stopped. Start it, or give --server "
        + "for another.",
        ExitCode.Failed,
        cause);
}
