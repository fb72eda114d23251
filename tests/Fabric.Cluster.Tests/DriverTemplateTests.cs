using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>The template of a driver, copied, built as a stranger would build it, with its own tests run, and put into a folder of plugins.</summary>
public sealed class BuiltTemplate : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(4);

    private readonly string folder = Directory.CreateTempSubdirectory("fabric-driver-").FullName;

    public string Plugins => Path.Combine(folder, "plugins");

    public string PathOf(string name) => Path.Combine(folder, name);

    public async ValueTask InitializeAsync()
    {
        Copy(new DirectoryInfo(Executables.DriverTemplate), PathOf("template"));
        await DotnetAsync("run", "--project", PathOf("template/Acme.Accel.Tests"));
        await DotnetAsync("build", PathOf("template/Acme.Accel"), "-o", Path.Combine(Plugins, "acme-accel"));
        Directory.CreateDirectory(Path.Combine(Plugins, "broken"));
        await File.WriteAllTextAsync(Path.Combine(Plugins, "broken", "broken.dll"), "no assembly");
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    /// <summary>No server of the SDK outlives it.</summary>
    private static async Task DotnetAsync(string verb, params string[] arguments)
    {
        await using var process = RunningProcess.Start(
            Executables.Dotnet,
            [verb, .. arguments, $"-p:FabricKit={Executables.Kit}", "-p:UseSharedCompilation=false", "-p:NuGetAudit=false"]);
        var ending = await process.EndAsync(Patience);
        Assert.True(ending.ExitCode == 0, ending.ToString());
    }

    private static void Copy(DirectoryInfo from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in from.EnumerateFiles())
            file.CopyTo(Path.Combine(to, file.Name));
        foreach (var inner in from.EnumerateDirectories().Where(static inner => inner.Name is not ("bin" or "obj")))
            Copy(inner, Path.Combine(to, inner.Name));
    }
}

/// <summary>A daemon of its own with the template's driver, by way of the API and the command line.</summary>
public sealed class DriverTemplateTests(BuiltTemplate template) : IClassFixture<BuiltTemplate>
{
    private const string One = "fab0:01:00.1";
    private const string Two = "fab0:01:00.2";

    [Fact]
    public async Task Its_driver_is_bound_works_is_unloaded_and_loaded_again()
    {
        await using var daemon = await StartAsync("works");
        var bound = await DeviceAsync(daemon, One, static device => device.State == "closed");
        var listed = await TestFabric.RunAtAsync(daemon, "driver", "list");

        // Bound, with the choice explained; what is broken beside it is said, and harms nobody.
        Assert.Equal(("acme-accel", "accelerator-vf"), (bound.Driver, bound.Model));
        Assert.Equal("it matches 1b36:fab1, better than others", bound.DriverReason);
        Assert.Equal(["accelerator"], bound.DriversPassedOver!.Select(static passed => passed.Driver));
        Assert.Matches("acme-accel +plugin acme-accel 1.0.0.0 +loaded +1b36:fab1", listed.Out);
        Assert.Matches("plugin broken +refused .*It is not a .NET assembly", listed.Out);

        // It sees what its device is asked, and what it lets through works: a claim runs on it.
        await ClaimAsync(daemon, "demo", One);
        var held = (await daemon.Http.GetAsync($"api/v1/devices/one/{One}/inspect")).As<InspectResource>();
        var busy = await TestFabric.RunAtAsync(daemon, "driver", "unload", "acme-accel");
        Assert.Equal("1", Value(held, "opens"));
        Assert.Equal((1, $"{One} has driver acme-accel and is held by claim demo; release it first."), (busy.ExitCode, busy.Sentence));

        // Unloaded, its devices have the next best; loaded, they have it again.
        await ReleaseAsync(daemon, "demo");
        var unloaded = await TestFabric.RunAtAsync(daemon, "driver", "unload", "acme-accel");
        Assert.True(unloaded.ExitCode == 0, unloaded.ToString());
        await DeviceAsync(daemon, One, static device => device is { Driver: "accelerator", State: "closed" });
        var loaded = await TestFabric.RunAtAsync(daemon, "driver", "load");
        Assert.True(loaded.ExitCode == 0, loaded.ToString());
        await DeviceAsync(daemon, One, static device => device is { Driver: "acme-accel", State: "closed" });
    }

    [Fact]
    public async Task An_override_survives_kill_9_and_a_driver_that_it_names_and_that_is_gone_leaves_the_device_to_nobody()
    {
        await using (var first = await StartAsync("kept"))
        {
            await DeviceAsync(first, Two, static device => device.State == "closed");
            foreach (var (device, driver) in new[] { (One, "accelerator"), (Two, "acme-accel") })
            {
                var set = await TestFabric.RunAtAsync(first, "device", "override", $"one/{device}", driver);
                Assert.True(set.ExitCode == 0, set.ToString());
            }

            await first.KillAsync();
        }

        await using var daemon = await StartAsync("kept", plugins: "");

        var one = await DeviceAsync(daemon, One, static device => device.State != "probing");
        var two = await DeviceAsync(daemon, Two, static device => device.State != "probing");
        Assert.Equal(("accelerator", "accelerator"), (one.Driver, one.DriverOverride));
        Assert.Equal(
            ("inventory", null, "driver_override names acme-accel, which this host does not have"), (two.State, two.Driver, two.Reason));
        var cleared = await TestFabric.RunAtAsync(daemon, "device", "override", $"one/{Two}", "--clear");
        Assert.True(cleared.ExitCode == 0, cleared.ToString());
        await DeviceAsync(daemon, Two, static device => device is { Driver: "accelerator", State: "closed", DriverOverride: null });
    }

    private async Task<Daemon> StartAsync(string name, string? plugins = null)
    {
        var daemon = Daemon.Start(new DaemonSettings("one", "control,host", template.PathOf(name)) { Plugins = plugins ?? template.Plugins });
        try
        {
            await daemon.ReadyAsync();
            return daemon;
        }
        catch
        {
            await daemon.DisposeAsync();
            throw;
        }
    }

    private static async Task<DeviceResource> DeviceAsync(Daemon daemon, string address, Func<DeviceResource, bool> holds) => (await Poll.UntilAsync(
        $"{address} to be as it should",
        () => daemon.Http.GetAsync($"api/v1/devices/one/{address}"),
        reply => reply.Status == 200 && holds(reply.As<DeviceResource>()),
        reply => $"{reply.Body}\n{daemon.Tail}")).As<DeviceResource>();

    private static async Task ClaimAsync(Daemon daemon, string id, string device)
    {
        var reply = await daemon.Http.PostAsync("api/v1/claims", $$"""{"id":"{{id}}","host":"one","device":"{{device}}","memory_mib":1}""");
        Assert.True(reply.Status == 202, reply.ToString());
        await UntilClaimAsync(daemon, id, static claim => claim is { Phase: "running", Workload.Steps: > 0 });
    }

    private static async Task ReleaseAsync(Daemon daemon, string id)
    {
        Assert.Equal(202, (await daemon.Http.DeleteAsync($"api/v1/claims/{id}")).Status);
        await UntilClaimAsync(daemon, id, static claim => claim.Phase == "released");
    }

    private static Task<Reply> UntilClaimAsync(Daemon daemon, string id, Func<ClaimResource, bool> holds) => Poll.UntilAsync(
        $"claim {id} to be as it should",
        () => daemon.Http.GetAsync($"api/v1/claims/{id}"),
        reply => reply.Status == 200 && holds(reply.As<ClaimResource>()),
        reply => $"{reply.Body}\n{daemon.Tail}");

    private static string? Value(InspectResource tree, string name) =>
        tree.Name == name ? tree.Value : tree.Children.Select(child => Value(child, name)).FirstOrDefault(static value => value is not null);
}
