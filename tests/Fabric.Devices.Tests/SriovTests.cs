using Akka.Actor;
using CsCheck;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>VFs that are made and removed under load (contract §5).</summary>
public sealed class SriovTests : SlotTest
{
    private static readonly PciAddress FirstVf = One with { Device = 0x10 };
    private static readonly PciAddress SecondVf = FirstVf with { Function = 1 };

    private readonly SlotFunction physical;

    public SriovTests()
    {
        physical = Bus.Add(One, totalVfs: 4);
        Bus.Add(Other);
    }

    [Fact]
    public async Task VFs_are_answered_for_only_when_all_of_them_are_probed_SV_10()
    {
        var host = Host();
        await FrontAsync(host, One);

        var made = await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"));

        Assert.Equal([FirstVf, SecondVf], made.VirtualFunctions);
        // What its supervisor tells the host is there before this is answered.
        await FrontAsync(host, One);
        var listed = (await AskAsync<DeviceList>(host, ListDevices.Instance)).Devices;
        Assert.All(listed.Where(device => device.PhysicalFunction == One), device => Assert.Equal(DeviceHealth.Healthy, device.Health));
        Assert.Equal(2, listed.Single(device => device.Address == One).VirtualFunctions);
    }

    [Fact]
    public async Task Removed_they_are_gone_from_host_bus_and_core_SV_11()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"));

        Assert.Empty((await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 0, "me"))).VirtualFunctions);

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(host, new FindDevice(FirstVf))).Errno);
        Assert.Null(Bus.Find(FirstVf));
        Assert.Equal([One, Other], Registered.Devices.Select(static device => device.Address));
        await FrontAsync(host, One);
        Assert.Equal(0, (await StatusAsync(host, One)).VirtualFunctions);
    }

    [Fact]
    public async Task The_number_that_there_is_already_is_a_success_and_nothing_happens_SV_3()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"));
        physical.Calls.Clear();

        Assert.Equal(2, (await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"))).VirtualFunctions.Length);

        Assert.Empty(physical.Calls);
    }

    [Theory]
    [InlineData(5, Errno.ERANGE)]
    [InlineData(3, Errno.EBUSY)]
    public async Task A_number_that_cannot_be_is_refused_and_nothing_changes_SV_2_SV_6(int count, Errno errno)
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"));

        Assert.Equal(errno, (await RefusedAsync(host, new ConfigureSriov(One, count, "me"))).Errno);

        await FrontAsync(host, One);
        Assert.Equal(2, (await StatusAsync(host, One)).VirtualFunctions);
    }

    [Fact]
    public async Task While_one_change_is_under_way_another_is_EAGAIN_and_names_who_makes_it()
    {
        using var hang = Bus.HangAt(One, "sriov");
        var host = Host();
        await FrontAsync(host, One);
        Client.Send(host, new ConfigureSriov(One, 2, "the first"));
        await hang.Entered;

        var refused = await RefusedAsync(host, new ConfigureSriov(One, 1, "me"));

        Assert.Equal(Errno.EAGAIN, refused.Errno);
        Assert.Contains("the first", refused.Sentence, StringComparison.Ordinal);
        hang.Release();
        Assert.Equal(2, (await NextAsync<SriovConfigured>(Client)).VirtualFunctions.Length);
    }

    [Fact]
    public async Task A_VF_in_use_blocks_the_removal_visibly_until_it_is_released_SV_11()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"));
        var front = await FrontAsync(host, FirstVf);
        var session = await OpenAsync(front, TestActor, "claim one");
        var request = new FakeTarget();
        await AskAsync<DeviceDone>(front, new SetTrigger(session, IrqIndex.Req, request));
        Client.Send(host, new ConfigureSriov(One, 0, "me"));
        await NoteAsync(FirstVf, "release-requested");

        var told = await InTimeAsync<DeviceFailed>(Client, TimeSpan.FromSeconds(8));

        Assert.Equal(Errno.EBUSY, told.Error.Errno);
        Assert.Contains($"{FirstVf} is held by claim one", told.Error.Sentence, StringComparison.Ordinal);
        Assert.Equal(DeviceState.Removing, (await StatusAsync(host, FirstVf)).State);
        Assert.InRange(request.Signals, 1, 2);
        await AskAsync<DeviceDone>(front, new CloseDevice(session));
        await UntilAsync<DeviceGone>(Events, gone => gone.Address == FirstVf);
        await StatusAsync(One, status => status.VirtualFunctions == 0);
        Assert.Null(Bus.Find(SecondVf));
        Assert.False(Client.HasMessages);
    }

    [Fact]
    public async Task A_PF_that_is_removed_takes_its_VFs_with_it_in_order_and_waits_for_their_holders_SV_23()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"));
        var front = await FrontAsync(host, FirstVf);
        var session = await OpenAsync(front, TestActor, "claim one");
        Client.Send(host, new RemoveDevice(One, "me"));
        await NoteAsync(FirstVf, "release-requested");

        await InTimeAsync<DeviceStatusChanged>(Events, TimeSpan.FromSeconds(8), changed => changed.Status.Address == One && changed.Status.Reason?.Contains("claim one", StringComparison.Ordinal) == true);
        Assert.Equal(DeviceState.Removing, (await StatusAsync(host, One)).State);
        Assert.False(Client.HasMessages);
        await AskAsync<DeviceDone>(front, new CloseDevice(session));

        await NextAsync<HostDone>(Client);
        Assert.Null(Bus.Find(One));
        Assert.Null(Bus.Find(FirstVf));
        Assert.Equal([Other], Registered.Devices.Select(static device => device.Address));
    }

    [Fact]
    public async Task A_PF_that_is_removed_by_force_closes_its_VFs_by_force()
    {
        var host = Host();
        await FrontAsync(host, One);
        await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 1, "me"));
        await OpenAsync(await FrontAsync(host, FirstVf), TestActor);

        Client.Send(host, new RemoveDevice(One, "me", TimeSpan.FromSeconds(20)));
        await NoteAsync(FirstVf, "release-requested");

        await InTimeAsync<HostDone>(Client, TimeSpan.FromSeconds(30));
        Assert.Null(Bus.Find(FirstVf));
    }

    [Fact]
    public async Task A_PF_that_is_pulled_out_while_its_VFs_are_made_answers_and_leaves_nothing()
    {
        using var hang = Bus.HangAt(One, "sriov");
        var host = Host();
        await FrontAsync(host, One);
        Client.Send(host, new ConfigureSriov(One, 2, "me"));
        await hang.Entered;

        Bus.PullOut(One);

        await InTimeAsync<DeviceFailed>(Client, Options.SlowCallDeadline * 4);
        await InTimeAsync<DeviceGone>(Events, Options.SlowCallDeadline * 4, gone => gone.Address == One);
        Assert.False(Client.HasMessages);
    }

    [Fact]
    public async Task A_PF_whose_core_fails_loses_its_VFs_and_can_have_new_ones()
    {
        var host = Host();
        var front = await FrontAsync(host, One);
        await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"));
        var session = await OpenAsync(front, TestActor);
        physical.Before = call =>
        {
            if (call == "read region")
                throw new InvalidOperationException("bad luck");
        };
        await RefusedAsync(front, new ReadRegion(session, 0, 0, 4));
        physical.Before = static _ => { };
        await UntilAsync<DeviceGone>(Events, gone => gone.Address == SecondVf);
        await AskAsync<DeviceFound>(host, new FindDevice(One));

        Assert.Equal(2, (await AskAsync<SriovConfigured>(host, new ConfigureSriov(One, 2, "me"))).VirtualFunctions.Length);
    }

    /// <summary>Everything at once, in an order that chance makes: PF changes, VF opens, closes and deaths of holders.</summary>
    [Fact]
    public Task Whatever_VFs_do_while_the_PF_changes_it_ends_with_what_was_asked_for_last() => Gen.Int[0, 5].Array[5, 40].SampleAsync(
        async walk =>
        {
            using var bus = new SlotBus();
            bus.Add(One, totalVfs: 4);
            var host = Sys.ActorOf(HostActor.Props(new HostOptions(bus, new([]), [], _ => null, Time) { Devices = Options }));
            await FrontAsync(host, One);
            var operators = CreateTestProbe();
            var consumers = new List<IActorRef>();
            var changes = 0;
            foreach (var step in walk)
            {
                var vf = FirstVf with { Function = (byte)(step % 2) };
                switch (step)
                {
                    case 0 or 1:
                        operators.Send(host, new ConfigureSriov(One, step * 2, "me"));
                        changes++;
                        break;
                    case 2 or 3:
                        var consumer = CreateTestProbe();
                        consumers.Add(consumer);
                        if (await AskAnyAsync(host, new FindDevice(vf)) is DeviceFound found)
                            found.Front.Tell(new OpenDevice("somebody", consumer), consumer);
                        break;
                    case 4 when consumers.Count > 0:
                        Sys.Stop(consumers[0]);
                        consumers.RemoveAt(0);
                        break;
                    default:
                        bus.Report(One, AerSeverity.Correctable);
                        break;
                }
            }

            consumers.ForEach(Sys.Stop);
            for (var i = 0; i < changes; i++)
                Assert.True(await InTimeAsync<object>(operators, TimeSpan.FromSeconds(60)) is SriovConfigured or DeviceFailed);
            Assert.False(operators.HasMessages);

            // Whatever came of it, all can be taken away, and made anew.
            await ChangeAsync(host, operators, 0);
            Assert.Equal([One], bus.Functions.Select(static function => function.Address));
            await ChangeAsync(host, operators, 2);
            Assert.IsType<DeviceFound>(await AskAnyAsync(host, new FindDevice(SecondVf)));
            await StopAsync(host);
        },
        iter: 40,
        threads: 1);

    private async Task ChangeAsync(IActorRef host, Akka.TestKit.TestProbe operators, int count)
    {
        for (var i = 0; i < 50; i++)
        {
            operators.Send(host, new ConfigureSriov(One, count, "me"));
            if (await InTimeAsync<object>(operators, TimeSpan.FromSeconds(60)) is SriovConfigured)
                return;
        }

        Assert.Fail($"{count} VFs could not be had.");
    }

    private static Task<object> AskAnyAsync(IActorRef host, object request) => host.Ask<object>(request, TimeSpan.FromSeconds(15), Cancelled);
}
