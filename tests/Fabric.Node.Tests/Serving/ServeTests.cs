using System.Diagnostics;
using System.Net.Sockets;
using Fabric.Hardware.Emulated;
using Fabric.Node.Serving;

namespace Fabric.Node.Tests.Serving;

/// <summary><c>fabricd serve</c> as a process: what the author of a VMM tries first.</summary>
public sealed class ServeTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Socket => Path.Combine(folder.Path, "s");

    [Fact]
    public async Task Models_are_listed_a_line_each()
    {
        using var serving = Start("--list-models");
        var lines = (await serving.StandardOutput.ReadToEndAsync(Cancellation)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        await serving.WaitForExitAsync(Cancellation);
        Assert.Equal(0, serving.ExitCode);
        Assert.Equal(ServedModel.All.Select(static model => $"{model.Name}\t{model.Description}"), lines);
    }

    [Fact]
    public void Cards_and_mediated_devices_are_models_by_one_name_each()
    {
        var names = ServedModel.All.Select(static model => model.Name).ToArray();
        Assert.All([EmulatedModels.Accelerator, "mtty-1", "mtty-2", "mdpy-xga", "mbochs-small"], name => Assert.Contains(name, names));
        Assert.Distinct(names);
    }

    [Fact]
    public async Task A_model_that_there_is_not_is_a_sentence_and_2()
    {
        using var serving = Start("--emulated", "toaster", "--socket", Socket);
        var error = await serving.StandardError.ReadToEndAsync(Cancellation);
        await serving.WaitForExitAsync(Cancellation);
        Assert.Equal(2, serving.ExitCode);
        Assert.StartsWith("fabricd: there is no emulated model 'toaster'; choose one of accelerator,", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_path_where_something_else_is_is_a_sentence_and_1()
    {
        await File.WriteAllTextAsync(Socket, "precious", Cancellation);
        using var serving = Start("--emulated", EmulatedModels.MultiFunction, "--socket", Socket);
        var error = await serving.StandardError.ReadToEndAsync(Cancellation);
        await serving.WaitForExitAsync(Cancellation);
        Assert.Equal(1, serving.ExitCode);
        Assert.Contains("no socket", error, StringComparison.Ordinal);
        Assert.Equal("precious", await File.ReadAllTextAsync(Socket, Cancellation));
    }

    [Theory]
    [InlineData(EmulatedModels.Accelerator)]
    [InlineData(EmulatedModels.MultiFunction)]
    [InlineData(EmulatedModels.VirtioBlock)]
    [InlineData("mtty-2")]
    public async Task The_socket_is_printed_when_it_answers_and_goes_when_standard_input_does(string model)
    {
        using var serving = Start("--emulated", model, "--socket", Socket, "--exit-on-stdin-close");
        Assert.Equal(Socket, await serving.StandardOutput.ReadLineAsync(Cancellation).AsTask().WaitAsync(Patience, Cancellation));
        using (var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            await client.ConnectAsync(new UnixDomainSocketEndPoint(Socket), Cancellation);
            // VERSION 0.0 without capabilities.
            await client.SendAsync(new byte[] { 1, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, Cancellation);
            var head = new byte[16];
            Assert.Equal(16, await client.ReceiveAsync(head, Cancellation).AsTask().WaitAsync(Patience, Cancellation));
            Assert.Equal([1, 0, 1, 0], head[..4]);
            Assert.Equal([1, 0, 0, 0, 0, 0, 0, 0], head[8..]);
        }

        serving.StandardInput.Close();
        await serving.WaitForExitAsync(Cancellation).WaitAsync(Patience, Cancellation);
        Assert.Equal(0, serving.ExitCode);
        Assert.False(Path.Exists(Socket));
    }

    public void Dispose() => folder.Dispose();

    private static Process Start(params string[] arguments) =>
        Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "fabricd"), ["serve", .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
}
