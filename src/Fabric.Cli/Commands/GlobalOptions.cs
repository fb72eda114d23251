using System.CommandLine;
using System.CommandLine.Parsing;
using Fabric.Cli.Output;

namespace Fabric.Cli.Commands;

/// <summary>What every command takes.</summary>
internal sealed class GlobalOptions
{
    public const string DefaultServer = "http://127.0.0.1:8470";
    public const string ServerVariable = "FABRIC_SERVER";

    public GlobalOptions(CliEnvironment environment)
    {
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

    public Option<Uri> Server { get; }

    public Option<OutputFormat> Output { get; }

    private static Uri? Parse(string text, string source, ArgumentResult result)
    {
        if (Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "http" or "https")
            return address;
        result.AddError($"{source} is '{text}', which is no address of a fabricd: write it as {DefaultServer}.");
        return null;
    }
}
