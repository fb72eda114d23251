using System.CommandLine;

namespace Fabric.Node.Serving;

/// <summary><c>fabricd serve</c>: one emulated device to a VMM, with no fabric around it. What <c>fabric serve</c> starts.</summary>
internal static class ServeCommand
{
    public static Command Build()
    {
        var emulated = new Option<string?>("--emulated") { Description = "The model to serve.", HelpName = "MODEL" };
        var socket = new Option<string?>("--socket") { Description = "Where to listen; the path is printed when it is ready.", HelpName = "PATH" };
        var list = new Option<bool>("--list-models") { Description = "Print the models, a line each: name, tab, description." };
        var untilStdinCloses = new Option<bool>("--exit-on-stdin-close") { Description = "Ends when its standard input is closed." };
        var command = new Command("serve", "Serve one emulated device to a VMM by vfio-user, in the foreground.")
        {
            emulated, socket, list, untilStdinCloses,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            if (parsed.GetValue(list))
                return List(Console.Out);
            if (parsed.GetValue(emulated) is not { Length: > 0 } model || parsed.GetValue(socket) is not { Length: > 0 } path)
            {
                await Console.Error.WriteLineAsync("fabricd: serve needs --emulated MODEL and --socket PATH; --list-models names the models.");
                return 2;
            }

            using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            if (parsed.GetValue(untilStdinCloses))
                _ = EndWhenStdinClosesAsync(ending);
            return await EmulatedServing.RunAsync(model, Path.GetFullPath(path), Console.Out, Console.Error, ending.Token);
        });
        return command;
    }

    private static int List(TextWriter output)
    {
        foreach (var model in ServedModel.All)
            output.WriteLine($"{model.Name}\t{model.Description}");
        return 0;
    }

    private static async Task EndWhenStdinClosesAsync(CancellationTokenSource ending)
    {
        await Console.OpenStandardInput().CopyToAsync(Stream.Null, ending.Token);
        await ending.CancelAsync();
    }
}
