using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Devices.History;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Drivers;

/// <summary>driver_override: set, cleared, kept, and what it does at once.</summary>
public sealed class DriverOverrideTests : SlotTest
{
    private static readonly DriverRegistration[] Both = [DriverChoiceTests.Driver("best", priority: 1), DriverChoiceTests.Driver("next")];

    private readonly SlotFunction function;
    private readonly Journal journal = new();

    public DriverOverrideTests() => function = Bus.Add(One, totalVfs: 2);

    // ---- Set and cleared -------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("next", "next")]
    [InlineData("best", "best")]
    [InlineData("vfio-pci", null)]
    public async Task It_is_taken_at_once_and_explained(string named, string? driver)
    {
        var host = Host(drivers: Both);
        await FrontAsync(host, One);

        await AskAsync<HostDone>(host, new OverrideDriver(One, named, "me"));

        var status = await StatusAsync(host, One);
        Assert.Equal((driver, DeviceState.Closed, named, $"driver_override names {named}"), (status.Driver, status.State, status.Choice!.Override, status.Choice.Why));
        Assert.Contains(await HistoryAsync(host, One), entry => entry is { Kind: "driver-override" } && entry.Message == $"{named}, by me");
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Fact]
    public async Task Cleared_the_best_is_chosen_again()
    {
        var host = Host(drivers: Both);
        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));

        await AskAsync<HostDone>(host, new OverrideDriver(One, null, "me"));

        var status = await StatusAsync(host, One);
        Assert.Equal(("best", null), (status.Driver, status.Choice!.Override));
    }

    [Fact]
    public async Task A_driver_that_the_host_does_not_have_is_refused_with_those_that_it_has()
    {
        var refused = await RefusedAsync(Host(drivers: Both), new OverrideDriver(One, "nxet", "me"));

        Assert.Equal(new VfioError(Errno.EINVAL, "This host has no driver 'nxet'; load it, or name one that it has: best, next, vfio-pci."), refused);
    }

    [Fact]
    public async Task The_same_again_changes_nothing()
    {
        var host = Host(drivers: Both);
        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));
        var front = await FrontAsync(host, One);

        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));

        Assert.Equal(front, await FrontAsync(host, One));
    }

    [Fact]
    public async Task Other_functions_are_left_as_they_are()
    {
        Bus.Add(Other);
        var host = Host(drivers: Both);
        var front = await FrontAsync(host, Other);
        var session = await OpenAsync(front, TestActor);

        await AskAsync<HostDone>(host, new OverrideDriver(One, "vfio-pci", "me"));

        await AskAsync<DeviceInfoRead>(front, new GetDeviceInfo(session));
    }

    // ---- Not while it is used --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Held_it_is_EBUSY_with_the_holder_and_nothing_is_changed()
    {
        var host = Host(history: journal.Props(), drivers: Both);
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor, "claim one");

        var refused = await RefusedAsync(host, new OverrideDriver(One, "next", "me"));

        Assert.Equal(new VfioError(Errno.EBUSY, $"{One} is held by claim one; release it first."), refused);
        Assert.Empty(journal.Standings);
        await AskAsync<DeviceDone>(front, new CloseDevice(session));
        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));
    }

    [Fact]
    public async Task With_VFs_it_is_EBUSY()
    {
        var host = Host(drivers: DriverChoiceTests.Driver("next"));
        await AskAsync<HostDone>(host, new OverrideDriver(One, "vfio-pci", "me"));
        await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"));

        Assert.Equal(Errno.EBUSY, (await RefusedAsync(host, new OverrideDriver(One, null, "me"))).Errno);
    }

    [Fact]
    public async Task Hung_it_is_EBUSY_with_what_it_hangs_in()
    {
        var host = Host(drivers: Both);
        await FrontAsync(host, One);
        using var hang = Bus.HangAt(One, "reset");
        host.Tell(new ResetByOperator(One, null, "me"));
        await hang.Entered.WaitAsync(TimeSpan.FromSeconds(15), Cancelled);
        Advance(Options.SlowCallDeadline);
        await StateAsync(One, DeviceState.Quarantined);

        var refused = await RefusedAsync(host, new OverrideDriver(One, "next", "me"));

        Assert.Equal(Errno.EBUSY, refused.Errno);
        Assert.Contains("hangs in reset", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_opens_it_in_that_moment_has_it_or_is_told_to_try_again_and_never_hangs()
    {
        for (var round = 0; round < 20; round++)
        {
            var host = Host(drivers: Both);
            var front = await FrontAsync(host, One);
            var holder = CreateTestProbe();
            Client.Send(host, new OverrideDriver(One, "next", "me"));
            holder.Send(front, new OpenDevice("somebody", holder));

            var opened = await holder.ExpectMsgAsync<DeviceReply>(cancellationToken: Cancelled);
            var overridden = await Client.ExpectMsgAsync<object>(TimeSpan.FromSeconds(15), cancellationToken: Cancelled);

            Assert.True(
                (opened, overridden) is (DeviceOpened, DeviceFailed { Error.Errno: Errno.EBUSY })
                    or (DeviceFailed { Error.Errno: Errno.EAGAIN or Errno.ENODEV }, HostDone),
                $"{opened}, {overridden}");
            await StopAsync(host);
        }
    }

    [Fact]
    public async Task What_is_asked_of_it_while_it_is_bound_anew_is_answered_when_it_is()
    {
        var host = Host(drivers: Both);
        await FrontAsync(host, One);
        var finder = CreateTestProbe();
        Client.Send(host, new OverrideDriver(One, "next", "me"));
        finder.Send(host, new FindDevice(One));

        var found = await finder.ExpectMsgAsync<DeviceFound>(TimeSpan.FromSeconds(15), cancellationToken: Cancelled);

        // Before, or after; in any case an address that answers.
        if (found.Status.Driver == "next")
            await OpenAsync(found.Front, TestActor);
        await NextAsync<HostDone>(Client);
    }

    // ---- Kept ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task It_is_in_the_journal_when_it_is_acknowledged_and_holds_in_the_hosts_next_life()
    {
        var host = Host(history: journal.Props(), drivers: Both);
        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));
        Assert.Equal("next", journal.Standings[One].DriverOverride);
        await StopAsync(host);

        var next = Host(history: journal.Props(), drivers: Both);

        Assert.Equal("next", (await AskAsync<DeviceFound>(next, new FindDevice(One))).Status.Driver);
    }

    [Fact]
    public async Task Cleared_it_stays_so_in_the_hosts_next_life()
    {
        var host = Host(history: journal.Props(), drivers: Both);
        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));
        await AskAsync<HostDone>(host, new OverrideDriver(One, null, "me"));
        await StopAsync(host);

        var next = Host(history: journal.Props(), drivers: Both);

        Assert.Equal("best", (await AskAsync<DeviceFound>(next, new FindDevice(One))).Status.Driver);
    }

    [Fact]
    public async Task Where_it_cannot_be_written_down_it_is_done_and_that_is_said()
    {
        journal.OnKeep = (address, _) => new StandingNotKept(address, "the disk is full");
        var host = Host(history: journal.Props(), drivers: Both);

        Assert.Contains("the disk is full", (await RefusedAsync(host, new OverrideDriver(One, "next", "me"))).Sentence, StringComparison.Ordinal);
        Assert.Equal("next", (await StatusAsync(host, One)).Driver);
    }

    [Fact]
    public async Task Other_standings_are_kept_with_it_and_it_with_them()
    {
        var host = Host(history: journal.Props(), drivers: Both);
        await AskAsync<HostDone>(host, new SetResetMethods(One, ["pm"], "me"));
        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));

        Assert.Equal(("next", "it is loud"), (journal.Standings[One].DriverOverride, journal.Standings[One].QuarantinedFor));
        Assert.Equal(["pm"], (await StatusAsync(host, One)).ResetMethods);
    }

    [Fact]
    public async Task Out_of_service_it_is_bound_anew_and_stays_out_of_service()
    {
        var host = Host(history: journal.Props(), drivers: Both);
        await FrontAsync(host, One);
        await AskAsync<HostDone>(host, new QuarantineDevice(One, "it is loud", "me"));

        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));

        var status = await StatusAsync(host, One);
        Assert.Equal(("next", DeviceState.Quarantined, "it is loud"), (status.Driver, status.State, status.Reason));
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        Assert.Equal("next", (await AskAsync<DeviceFound>(host, new FindDevice(One))).Status.Driver);
    }

    [Fact]
    public async Task It_is_the_addresss_and_holds_for_what_comes_back_there()
    {
        var host = Host(history: journal.Props(), drivers: Both);
        await AskAsync<HostDone>(host, new OverrideDriver(One, "next", "me"));
        await AskAsync<HostDone>(host, new RemoveDevice(One, "me"));

        Bus.Put(function);

        Assert.Equal("next", (await AskAsync<DeviceFound>(host, new FindDevice(One))).Status.Driver);
    }

    // ---- Nobody's --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Where_the_driver_that_it_names_is_not_there_any_more_nobody_has_the_function_and_the_way_back_is_said()
    {
        await NobodysAsync();

        var status = await StatusAsync(One, status => status.State == DeviceState.Inventory);
        Assert.Equal((null, "driver_override names next, which this host does not have"), (status.Driver, status.Reason));
        Assert.Contains("fabric device override", status.WayBack, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_that_nobody_has_is_ENODEV_to_find()
    {
        var host = await NobodysAsync();

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, new FindDevice(One))).Errno);
    }

    [Fact]
    public async Task One_that_nobody_has_is_given_back_by_another_override_or_none_which_is_written_down()
    {
        var host = await NobodysAsync();

        await AskAsync<HostDone>(host, new OverrideDriver(One, null, "me"));

        Assert.Null(journal.Standings[One].DriverOverride);
        Assert.Equal("best", (await AskAsync<DeviceFound>(host, new FindDevice(One))).Status.Driver);
    }

    [Fact]
    public async Task One_that_nobody_has_can_be_pulled_out_and_put_back()
    {
        var host = await NobodysAsync();

        await AskAsync<HostDone>(host, new InjectRemoval(One));
        Assert.Empty((await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices);
        await AskAsync<HostDone>(host, new InjectReturn(One));

        await StatusAsync(One, status => status.State == DeviceState.Inventory);
    }

    [Fact]
    public async Task One_that_nobody_has_is_taken_off_its_bus_when_that_is_asked_for()
    {
        var host = await NobodysAsync();
        await StatusAsync(One, status => status.State == DeviceState.Inventory);

        await AskAsync<HostDone>(host, new RemoveDevice(One, "me"));

        Assert.Null(Bus.Find(One));
        Assert.Empty((await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices);
    }

    [Fact]
    public async Task One_that_nobody_has_and_that_its_bus_does_not_let_go_stays_and_says_why()
    {
        var host = await NobodysAsync();
        await StatusAsync(One, status => status.State == DeviceState.Inventory);
        Bus.OnRemove = static () => VfioResult.Fail(Errno.EOPNOTSUPP, "Functions of this bus cannot be removed.");

        Assert.Equal(Errno.EOPNOTSUPP, (await RefusedAsync(host, new RemoveDevice(One, "me"))).Errno);
        Assert.Equal(DeviceState.Inventory, (await StatusAsync(host, One)).State);
    }

    [Fact]
    public async Task Of_a_driver_that_is_registered_for_several_kinds_of_functions_the_kind_is_taken_that_matches()
    {
        var host = Host(drivers: [DriverChoiceTests.Driver("kinds") with { Ids = [new DriverId(1, 2)], Model = "other" }, DriverChoiceTests.Driver("kinds")]);

        await AskAsync<HostDone>(host, new OverrideDriver(One, "kinds", "me"));

        Assert.Equal("kinds-vf", (await StatusAsync(host, One)).Model);
    }

    [Fact]
    public async Task A_driver_that_is_named_and_refuses_leaves_the_function_to_nobody_with_its_reason()
    {
        var host = Host(drivers:
        [
            Both[0], Both[1] with { Probe = _ => VfioResult.Fail(Errno.ENODEV, "The driver of the PF is not loaded.") },
        ]);

        var refused = await RefusedAsync(host, new OverrideDriver(One, "next", "me"));

        Assert.Equal(Errno.ENODEV, refused.Errno);
        Assert.Contains("The driver of the PF is not loaded", refused.Sentence, StringComparison.Ordinal);
        Assert.Equal((DeviceState.Inventory, null), ((await StatusAsync(host, One)).State, (await StatusAsync(host, One)).Driver));
    }

    private async Task<IActorRef> NobodysAsync()
    {
        var first = Host(history: journal.Props(), drivers: Both);
        await AskAsync<HostDone>(first, new OverrideDriver(One, "next", "me"));
        await StopAsync(first);
        return Host(history: journal.Props(), drivers: Both[0]);
    }
}
