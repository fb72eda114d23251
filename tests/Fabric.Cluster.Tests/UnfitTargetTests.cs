using Fabric.Cluster.Tests.Processes;

namespace Fabric.Cluster.Tests;

/// <summary>Targets that could never take the claim: each is refused with what it lacks, and the claim runs on where it is.</summary>
[Collection(SqliteFabric.Name)]
public sealed class UnfitTargetTests(SqliteFabric mended)
{
    private const int RefusedByPlan = 3;

    [Fact]
    public async Task A_target_without_the_driver_the_model_or_the_size_is_refused_by_plan()
    {
        var fabric = await mended.WholeAsync();
        var (control, settings) = (fabric.Control.Endpoints.Cluster, new List<DaemonSettings>());
        settings.Add(new DaemonSettings("driverless", "host", fabric.PathOf("driverless"), control) { WithoutDrivers = ["accelerator"] });
        settings.Add(new DaemonSettings("bare", "host", fabric.PathOf("bare"), control) { Accelerators = 0 });
        settings.Add(new DaemonSettings("large", "host", fabric.PathOf("large"), control) { StateSize = "512KiB" });
        foreach (var host in settings)
            fabric.Launch(host);
        foreach (var host in settings)
            await fabric.HostAsync(host.Name, known => known is { State: "up", Version.Length: > 0 }, "up with its inventory");
        await fabric.ClaimRunningAsync("picky", "host-a");

        var endings = new List<(int, string)>();
        foreach (var host in settings)
        {
            var ending = await fabric.RunAsync("migrate", "picky", "--to", host.Name);
            endings.Add((ending.ExitCode, ending.Sentence));
        }

        var after = await fabric.ClaimAsync("picky");
        Assert.Equal<(int, string)>(
            [
                (RefusedByPlan, "driverless lacks the driver accelerator: its 4 devices 1b36:fab1 are bound to none; give it that driver, or choose another host."),
                (RefusedByPlan, "bare has no device of model accelerator-vf, nor of any other that can be claimed; choose a host that has one."),
                (RefusedByPlan, "large/fab0:01:00.1 has 524288 bytes of device state, the source 262144; choose a target of the same size."),
            ],
            endings);
        Assert.Equal(("running", "host-a", 1L, 0), (after.Phase, after.Host, after.Generation, after.Migrations.Count));
    }
}
