using Fabric.Devices.Drivers.Plugins;

namespace Fabric.Devices.Tests.Drivers;

/// <summary>Drivers of a plugin are made once before any device has one.</summary>
public sealed class PluginTrialTests : IDisposable
{
    private readonly PluginFolder folder = new();

    [Fact]
    public async Task One_that_can_be_made_passes() => Assert.Null(await TryAsync(""));

    [Fact]
    public async Task One_whose_constructor_throws_does_not_and_says_what() =>
        Assert.Equal(
            "The constructor of acme failed: InvalidOperationException: bad luck",
            await TryAsync("if (context is not null) throw new InvalidOperationException(\"bad luck\");"));

    [Fact]
    public async Task One_whose_start_throws_does_not() =>
        Assert.Equal(
            "The constructor of acme failed: InvalidOperationException: bad luck",
            await TryAsync("", "protected override void PreStart() => throw new InvalidOperationException(\"bad luck\");"));

    public void Dispose() => folder.Dispose();

    private Task<string?> TryAsync(string construct, string more = "")
    {
        folder.Add("acme", PluginFolder.Driver(construct: construct, more: more));
        var plugin = PluginLoader.Load(folder.PathOf("acme"), new PluginOptions(folder.Path)).Value;
        var tried = new TaskCompletionSource<string?>(TaskCreationOptions.RunContinuationsAsynchronously);
        plugin.Try(tried.SetResult);
        return tried.Task.WaitAsync(TimeSpan.FromSeconds(15), TestContext.Current.CancellationToken);
    }
}
