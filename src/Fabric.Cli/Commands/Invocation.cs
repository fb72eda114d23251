using System.CommandLine;
using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary>One run of a command.</summary>
internal sealed class Invocation : IDisposable
{
    private static readonly TimeSpan RequestLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(100);

    private readonly ParseResult _parsed;
    private readonly Lazy<Screen> _screen;

    public Invocation(CliEnvironment environment, GlobalOptions options, ParseResult parsed, CancellationToken cancellation)
    {
        _parsed = parsed;
        _screen = new Lazy<Screen>(environment.OutScreen);
        Environment = environment;
        Cancellation = cancellation;
        Format = parsed.GetValue(options.Output);
        var server = parsed.GetRequiredValue(options.Server);
        var handler = Transport.To(server, parsed.GetValue(options.Certificate), parsed.GetValue(options.Key), parsed.GetValue(options.Authority));
        Api = new FabricApi(server, environment.Time, RequestLimit, handler, environment.Requester) { PlansOnly = options.PlansOnly };
    }

    public CliEnvironment Environment { get; }

    public CancellationToken Cancellation { get; }

    public OutputFormat Format { get; }

    public FabricApi Api { get; }

    public T? Value<T>(Option<T> option) => _parsed.GetValue(option);

    public T Value<T>(Argument<T> argument) => _parsed.GetRequiredValue(argument);

    public Patience Patience(TimeSpan limit) => new(Environment.Time, PollInterval, limit);

    public Screen OutScreen => _screen.Value;

    /// <summary>Where progress goes: beside the result for people, out of its way for programs.</summary>
    public Screen ProgressScreen() => Format == OutputFormat.Json ? Environment.ErrorScreen() : OutScreen;

    public void Print<T>(ApiReply<T> reply, Action<Screen, T> view)
    {
        if (Format == OutputFormat.Json)
            Environment.Out.WriteLine(JsonText.Document(reply.Json));
        else
            view(OutScreen, reply.Value);
    }

    public void Print<T>(ApiReply<ListResource<T>> reply, Action<Screen, IReadOnlyList<T>> view) =>
        Print(reply, (screen, list) => view(screen, list.Items));

    public void Complain(string sentence) => Environment.Error.WriteLine(sentence);

    public void Dispose() => Api.Dispose();
}
