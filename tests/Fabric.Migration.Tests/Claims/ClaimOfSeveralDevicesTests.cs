using Fabric.Migration.Claims;
using Fabric.Migration.Hosts;
using Fabric.Vfio.Migration;

namespace Fabric.Migration.Tests.Claims;

/// <summary>A claim of two devices: they are together wherever it is.</summary>
[Collection(ClaimLabCollection.Name)]
public sealed class ClaimOfSeveralDevicesTests(ClaimLab lab)
{
    private static readonly string[] Both = [ClaimUnderTest.Device, ClaimUnderTest.Second];

    [Fact]
    public async Task It_has_each_in_the_order_that_they_were_asked_for()
    {
        var claim = await lab.NewClaim().Run(devices: 2);

        Assert.Equal([new("accelerator", ClaimUnderTest.Device), new("accelerator", ClaimUnderTest.Second)], (await claim.View()).Devices);
    }

    [Fact]
    public async Task All_of_them_move()
    {
        var claim = await MoveAsync();

        var view = await claim.View();
        Assert.Equal(("beta", "committed"), (view.Host, view.Migrations[0].Outcome));
        Assert.Equal(Both, view.Migrations[0].FromDevices);
        Assert.Equal(Both, view.Migrations[0].ToDevices);
    }

    /// <summary>The same bytes in all, and the same checksum of all but one.</summary>
    [Fact]
    public async Task One_stream_that_did_not_arrive_whole_is_enough_not_to_commit_L2()
    {
        var claim = await lab.NewClaim().Run(devices: 2);
        claim.Instead = (host, command) => (host, command) switch
        {
            ("alpha", StopAndCopy stop) => [new SourceStopped(claim.Id, host, 2, stop.Migration, Streams("aa", "bb", "cc"), 3, 1, 1, 1)],
            ("beta", StopAndCopy stop) => [new TargetLoaded(claim.Id, host, 2, stop.Migration, Streams("aa", "xx", "cc"), 1)],
            _ => null,
        };
        await claim.Ask<ClaimAccepted>(claim.ToBeta);
        await claim.Until("journal MigrationRolledBack");

        Assert.DoesNotContain("MigrationCommitted", claim.Journal);
        Assert.StartsWith("what beta received (300 bytes, ", (await claim.View()).Migrations[0].Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void The_journal_has_the_bytes_of_all_streams_and_one_checksum_over_theirs()
    {
        var sum = TransferSum.Of(Streams("aa", "bb", "cc"));

        Assert.Equal(300, sum.Bytes);
        Assert.NotEqual(sum, TransferSum.Of(Streams("bb", "aa", "cc")));
        Assert.Equal(new TransferSum(100, "aa"), TransferSum.Of(Streams("aa")));
    }

    [Fact]
    public async Task One_without_P2P_does_not_move_and_nothing_is_changed_MG_52()
    {
        var claim = await lab.NewClaim().Run(devices: 2);
        claim.Flags = MigrationFlags.StopCopy | MigrationFlags.PreCopy;

        var refused = await claim.Ask<ClaimRefused>(claim.ToBeta);

        Assert.Equal(
            (RefusalCode.Plan, "alpha/fab0:01:00.1 does not migrate with P2P, which each of several devices of one claim needs: they must leave each other alone "
                + "before any of them stops; give it to a claim of its own."),
            (refused.Code, refused.Sentence));
        Assert.DoesNotContain("MigrationStarted", claim.Journal);
    }

    [Theory]
    [InlineData(ClaimUnderTest.Device)]
    [InlineData(ClaimUnderTest.Second)]
    public async Task Whichever_is_sick_all_are_moved_away(string sick)
    {
        var claim = await lab.NewClaim().Run(devices: 2);
        claim.Tell(claim.Sick("alpha", readable: true, device: sick));
        await claim.Until("journal SourceReleased");

        var view = await claim.View();
        Assert.Equal(("beta", "evacuated", sick), (view.Host, view.Trouble!.Outcome, view.Trouble.Device));
        Assert.Equal(Both, view.Devices.Select(static device => device.Device));
    }

    [Fact]
    public async Task One_that_is_lost_while_another_is_sick_ends_the_hope_of_moving()
    {
        var claim = await lab.NewClaim().Run(devices: 2);
        claim.Instead = (_, command) => command is PrepareTarget ? [] : null;
        claim.Tell(claim.Sick("alpha", readable: true));
        await claim.Until("beta PrepareTarget");

        claim.Tell(claim.Sick("alpha", readable: false, generation: 2, device: ClaimUnderTest.Second));

        await claim.Until("journal ClaimFailed");
        Assert.Equal((ClaimPhase.Failed, "stopped"), ((await claim.View()).Phase, (await claim.View()).Trouble!.Outcome));
    }

    private async Task<ClaimUnderTest> MoveAsync()
    {
        var claim = await lab.NewClaim().Run(devices: 2);
        await claim.Ask<ClaimAccepted>(claim.ToBeta);
        await claim.Until("journal SourceReleased");
        return claim;
    }

    private static StreamSum[] Streams(params string[] checksums) => [.. checksums.Select(static checksum => new StreamSum(100, checksum))];
}
