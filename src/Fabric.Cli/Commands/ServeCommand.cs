using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Cli.Serving;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric serve</c></summary>
internal static class ServeCommand
{
    public static Command Build(CommandContext context)
    {
        var emulated = new Option<string?>("--emulated") { Description = "Serve one emulated device of this model, with no fabric around it.", HelpName = "MODEL" };
        var socket = new Option<string?>("--socket") { Description = "The UNIX socket to listen on; it is printed when it is ready.", HelpName = "PATH" };
        var list = new Option<bool>("--list-models") { Description = "Name the emulated models, and serve nothing." };
        var fabricd = new Option<string?>("--fabricd") { Description = "The daemon to start; default the one beside fabric.", HelpName = "PATH" };
        return context.Command(
            "serve",
            "Serve a device to a VMM by vfio-user, in the foreground, until Ctrl-C.",
            invocation =>
            {
                var daemon = Path.GetFullPath(invocation.Value(fabricd) ?? Path.Combine(invocation.Environment.Directory, "daemon", "fabricd"));
                var process = new ServingProcess(daemon, invocation.Environment.Time);
                if (invocation.Value(list))
                    return ListAsync(invocation, process);
                if (invocation.Value(emulated) is not { Length: > 0 } model || invocation.Value(socket) is not { Length: > 0 } path)
                    throw new CommandFailure("serve needs --emulated MODEL and --socket PATH; --list-models names the models.", ExitCode.Usage);
                return process.RunAsync(
                    ["--emulated", model, "--socket", Path.GetFullPath(path)],
                    invocation.Environment.Out, invocation.Environment.Error, invocation.Cancellation);
            },
            emulated, socket, list, fabricd);
    }

    private static async Task<int> ListAsync(Invocation invocation, ServingProcess process)
    {
        using var lines = new StringWriter();
        var ending = await process.RunAsync(["--list-models"], lines, invocation.Environment.Error, invocation.Cancellation);
        if (ending != ExitCode.Ok)
            return ending;
        var models = lines.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(static line => line.TrimEnd('\r').Split('\t', 2))
            .Select(static parts => new ServedModel(parts[0], parts.ElementAtOrDefault(1) ?? ""))
            .ToArray();
        if (invocation.Format == OutputFormat.Json)
        {
            await invocation.Environment.Out.WriteLineAsync(JsonText.Document(models));
            return ExitCode.Ok;
        }

        var sheet = new Sheet("model", "what it is");
        foreach (var model in models)
            sheet.Add(model.Name, model.Description);
        invocation.OutScreen.Table(sheet);
        return ExitCode.Ok;
    }

    private sealed record ServedModel(string Name, string Description);
}
