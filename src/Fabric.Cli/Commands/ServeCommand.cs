using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Cli.Serving;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric serve</c>: a device of a running fabric on a socket of its host, or an emulated one with no fabric around it.</summary>
internal static class ServeCommand
{
    internal const string Needs =
        "serve needs a device and --socket PATH, or --end to end that; or --emulated MODEL and --socket PATH; --list-models names the models.";

    public static Command Build(CommandContext context)
    {
        var device = DeviceName.OptionalArgument();
        var socket = new Option<string?>("--socket") { Description = "The UNIX socket to listen on, on the device's host.", HelpName = "PATH" };
        var end = new Option<bool>("--end") { Description = "Put the device's client out, and take its socket away." };
        var sockets = new Option<string?>("--list") { Description = "Name the devices that a host serves, and their sockets.", HelpName = "HOST" };
        var emulated = new Option<string?>("--emulated") { Description = "Serve one emulated device of this model, in the foreground.", HelpName = "MODEL" };
        var models = new Option<bool>("--list-models") { Description = "Name the emulated models, and serve nothing." };
        var fabricd = new Option<string?>("--fabricd") { Description = "The daemon to start for --emulated; default the one beside fabric.", HelpName = "PATH" };
        return context.Command(
            "serve",
            "Serve a device to a VMM by vfio-user: one of a host until it is ended, or an emulated one in the foreground until Ctrl-C.",
            invocation => (invocation.Value(device), invocation.Value(socket), invocation.Value(end)) switch
            {
                _ when invocation.Value(sockets) is { Length: > 0 } host => SocketsAsync(invocation, host),
                ({ } of, null, true) => EndAsync(invocation, of),
                ({ } of, { Length: > 0 } path, false) when invocation.Value(emulated) is null => ServeAsync(invocation, of, path),
                (null, var path, false) when !context.Options.PlansOnly => EmulatedAsync(
                    invocation, invocation.Value(fabricd), invocation.Value(models), invocation.Value(emulated), path),
                _ => throw new CommandFailure(Needs, ExitCode.Usage),
            },
            device, socket, end, sockets, emulated, models, fabricd);
    }

    private static async Task<int> SocketsAsync(Invocation invocation, string host)
    {
        invocation.Print(await invocation.Api.SocketsAsync(host, invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }

    /// <summary>The daemon has the socket: this ends at once, and the serving does not.</summary>
    private static async Task<int> ServeAsync(Invocation invocation, DeviceName device, string socket)
    {
        var request = new ServeDeviceRequest(Path.GetFullPath(socket));
        invocation.Print(await invocation.Api.ServeAsync(device.Host, device.Address, request, invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }

    private static async Task<int> EndAsync(Invocation invocation, DeviceName device)
    {
        invocation.Print(await invocation.Api.EndServingAsync(device.Host, device.Address, invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }

    private static Task<int> EmulatedAsync(Invocation invocation, string? fabricd, bool listsModels, string? model, string? socket)
    {
        var daemon = Path.GetFullPath(fabricd ?? Path.Combine(invocation.Environment.Directory, "daemon", "fabricd"));
        var process = new ServingProcess(daemon, invocation.Environment.Time);
        if (listsModels)
            return ListAsync(invocation, process);
        if (model is not { Length: > 0 } || socket is not { Length: > 0 })
            throw new CommandFailure(Needs, ExitCode.Usage);
        return process.RunAsync(
            ["--emulated", model, "--socket", Path.GetFullPath(socket)],
            invocation.Environment.Out, invocation.Environment.Error, invocation.Cancellation);
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
