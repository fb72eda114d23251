using System.CommandLine;
using System.CommandLine.Parsing;
using Fabric.Cli.Output;

namespace Fabric.Cli.Commands;

/// <summary>What every command takes.</summary>
internal sealed record GlobalOptions
{
    public const string DefaultServer = "http://127.0.0.1:8470";
    public const string ServerVariable = "FABRIC_SERVER";

    public GlobalOptions(CliEnvironment environment)
    {
        Certificate = File(environment, "--cert", "FABRIC_CERT", "Certificate to show to a fabricd with https, in PEM");
        Key = File(environment, "--key", "FABRIC_KEY", "Key of that certificate, in PEM");
        Authority = File(environment, "--cacert", "FABRIC_CACERT", "Authority whose certificates are trusted instead of this machine's, in PEM");
        Server = new Option<Uri>("--server")
        {
            Description = $"Base address of a fabricd; ${ServerVariable} sets another default.",
            HelpName = "URL",
            Recursive = true,
            CustomParser = result => Parse(result.Tokens[0].Value, "--server", result),
            DefaultValueFactory = result =>
                environment.Variable(ServerVariable) is { Length: > 0 } address
                    ? Parse(address, ServerVariable, result)!
                    : new Uri(DefaultServer),
        };
        Output = new Option<OutputFormat>("--output", "-o")
        {
            Description = "json prints the API's own resources and nothing else; default table.",
            HelpName = "json|table",
            Recursive = true,
            CustomParser = result =>
            {
                switch (result.Tokens[0].Value)
                {
                    case "json":
                        return OutputFormat.Json;
                    case "table":
                        return OutputFormat.Table;
                    default:
                        result.AddError($"There is no output format '{result.Tokens[0].Value}': use json or table.");
                        return OutputFormat.Table;
                }
            },
        };
        Output.CompletionSources.Add("json", "table");
    }

    /// <summary>Commands are planned, and not carried out.</summary>
    public bool PlansOnly { get; init; }

    public Option<Uri> Server { get; }

    public Option<OutputFormat> Output { get; }

    public Option<string?> Certificate { get; }

    public Option<string?> Key { get; }

    public Option<string?> Authority { get; }

    private static Option<string?> File(CliEnvironment environment, string name, string variable, string description) => new(name)
    {
        Description = $"{description}; ${variable} sets a default.",
        HelpName = "FILE",
        Recursive = true,
        DefaultValueFactory = _ => environment.Variable(variable) is { Length: > 0 } file ? file : null,
    };

    private static Uri? Parse(string text, string source, ArgumentResult result)
    {
        if (Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "http" or "https")
            return address;
        result.AddError($"{source} is '{text}', which is no address of a fabricd: write it as {DefaultServer}.");
        return null;
    }
}
