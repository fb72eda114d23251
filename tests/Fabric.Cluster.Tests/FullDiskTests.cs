using System.Diagnostics;
using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Api;

namespace Fabric.Cluster.Tests;

/// <summary>The disk under the journal is full: the fabric says so, changes nothing, and works again once there is room.</summary>
public sealed class FullDiskTests : IAsyncLifetime
{
    private string? disk;

    private string Filler => Path.Combine(disk!, "filler");

    public async ValueTask InitializeAsync()
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Skip("A disk that can be filled is a small tmpfs, and only root mounts one.");
        var place = Directory.CreateTempSubdirectory("fabric-test-disk-").FullName;
        if (await RunAsync("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place) is var code && code != 0)
        {
            Directory.Delete(place);
            Assert.Skip($"A small tmpfs could not be mounted here: mount ended with {code}.");
        }

        disk = place;
    }

    public async ValueTask DisposeAsync()
    {
        if (disk is null)
            return;
        await RunAsync("umount", "--lazy", disk);
        Directory.Delete(disk);
    }

    [Fact]
    public async Task A_new_claim_is_refused_with_the_reason_and_is_not_made_later()
    {
        await using var fabric = await TestFabric.StartAsync(hosts: 1, controlData: Path.Combine(disk!, "control"));
        // One that was created before: what the journal holds already says nothing of what it can still take.
        await fabric.ClaimRunningAsync("first", "host-a");
        Fill();
        var reply = await fabric.Http.PostAsync("api/v1/claims", """{"id":"late"}""");
        Assert.True(reply.Status == 503, $"{reply}\n{fabric.Control.Tail}");
        var ending = await fabric.RunAsync("claim", "create", "late");
        var claims = await fabric.Http.GetAsync("api/v1/claims");
        File.Delete(Filler);
        // Every function can be had, so none was taken meanwhile; and the id is free.
        for (var number = 0; number < DaemonSettings.VirtualFunctions - 2; number++)
            await fabric.ClaimRunningAsync($"after-{number}", "host-a");
        await fabric.ClaimRunningAsync("late", "host-a");

        Assert.Equal(ProblemCode.JournalUnavailable, reply.Problem.Code);
        Assert.Contains("database or disk is full", reply.Problem.Detail, StringComparison.Ordinal);
        Assert.Contains("nothing was changed. Free its disk", reply.Problem.Detail, StringComparison.Ordinal);
        Assert.Equal((1, reply.Problem.Detail), (ending.ExitCode, ending.Sentence));
        Assert.Equal("first", Assert.Single(claims.As<ListResource<ClaimResource>>().Items).Id);
    }

    [Fact]
    public async Task A_claim_that_runs_is_not_released_until_that_can_be_written_down()
    {
        await using var fabric = await TestFabric.StartAsync(hosts: 1, controlData: Path.Combine(disk!, "control"));
        await fabric.ClaimRunningAsync("kept", "host-a");
        Fill();
        var reply = await fabric.Http.DeleteAsync("api/v1/claims/kept");
        File.Delete(Filler);
        var after = await fabric.ClaimAsync("kept", claim => claim.Workload is not null, "taken up again");
        await fabric.ReleaseAsync("kept");

        Assert.Equal((503, ProblemCode.JournalUnavailable), (reply.Status, reply.Problem.Code));
        Assert.Equal("running", after.Phase);
    }

    /// <summary>To the last byte: what is left over after the large pieces is taken in small ones.</summary>
    private void Fill()
    {
        using var filler = new FileStream(Filler, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        foreach (var size in new[] { 64 * 1024, 4096, 1 })
        {
            try
            {
                while (true)
                    filler.Write(new byte[size]);
            }
            catch (IOException)
            {
                // No room for a piece of this size any more, which is what is wanted.
            }
        }
    }

    private static async Task<int> RunAsync(string command, params string[] arguments)
    {
        using var process = Process.Start(command, arguments);
        await process.WaitForExitAsync();
        return process.ExitCode;
    }
}
