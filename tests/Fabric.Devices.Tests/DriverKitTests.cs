using Akka.Actor;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>One driver between a test that asks and a test that answers as its core.</summary>
public sealed class DriverKitTests : DriverTest
{
    // ---- On, and what falls through --------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_a_driver_does_not_take_reaches_the_core_untouched_from_its_requester()
    {
        var request = new GetDeviceInfo(Session);

        client.Send(Driver(_ => { }), request);

        Assert.Same(request, await NextAsync<GetDeviceInfo>(core));
        Assert.Equal(client.Ref, core.LastSender);
    }

    [Fact]
    public async Task What_a_driver_takes_does_not_reach_the_core()
    {
        var driver = Driver(own => own.Take<GetDeviceInfo>(_ => own.Answer(new DeviceInfoRead(Info))));

        client.Send(driver, new GetDeviceInfo(Session));
        client.Send(driver, new GetIrqInfo(Session, 0));

        Assert.Equal(Info, (await NextAsync<DeviceInfoRead>(client)).Info);
        await NextAsync<GetIrqInfo>(core);
    }

    [Fact]
    public async Task What_a_driver_takes_on_a_condition_falls_through_where_it_does_not_hold()
    {
        var driver = Driver(own => own.Take<ReadRegion>(read => read.Region == 2, _ => own.Answer(new RegionRead(new byte[] { 1 }))));

        client.Send(driver, new ReadRegion(Session, 2, 0, 1));
        client.Send(driver, new ReadRegion(Session, 0, 0, 1));

        await NextAsync<RegionRead>(client);
        Assert.Equal(0, (await NextAsync<ReadRegion>(core)).Region);
    }

    [Fact]
    public async Task A_driver_can_change_what_the_core_answers()
    {
        var driver = Driver(own => own.Take<GetDeviceInfo>(info => own.Ask(info, _ => own.Answer(new DeviceInfoRead(Info)))));

        client.Send(driver, new GetDeviceInfo(Session));
        core.Reply(new CoreReplied((await NextAsync<CoreCall>(core)).Number, new DeviceInfoRead(default)));

        Assert.Equal(Info, (await NextAsync<DeviceInfoRead>(client)).Info);
    }

    [Fact]
    public async Task The_end_of_a_session_is_told_to_the_driver_and_not_to_the_core()
    {
        var told = CreateTestProbe();
        var driver = Driver(own => own.Closed = session => told.Ref.Tell(session));

        supervisor.Send(driver, new SessionClosed(Session, "somebody", "its holder died"));
        client.Send(driver, new GetDeviceInfo(Session));

        Assert.Equal(Session, await NextAsync<SessionId>(told));
        await NextAsync<GetDeviceInfo>(core);
    }

    // ---- Asking the core keeps order -------------------------------------------------------------------------------------------------

    [Fact]
    public async Task While_the_core_is_asked_everything_else_waits_and_then_goes_in_order()
    {
        var driver = Driver(own =>
        {
            own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer));
            own.Take<GetMigrationFlags>(_ => own.Answer(new MigrationFlagsRead(default)));
        });
        client.Send(driver, new ResetDevice(Session));
        client.Send(driver, new GetMigrationFlags(Session));
        client.Send(driver, new GetDeviceInfo(Session));
        client.Send(driver, new GetMigrationFlags(Session));
        var call = await NextAsync<CoreCall>(core);

        core.Reply(new CoreReplied(call.Number, DeviceDone.Instance));

        await NextAsync<DeviceDone>(client);
        await NextAsync<MigrationFlagsRead>(client);
        await NextAsync<MigrationFlagsRead>(client);
        await NextAsync<GetDeviceInfo>(core);
    }

    [Fact]
    public async Task A_chain_of_questions_to_the_core_is_not_interrupted()
    {
        var driver = Driver(own => own.Take<OpenDevice>(open => own.Ask(open, _ => own.Ask(new MapRegion(Session, 0), own.Answer))));
        client.Send(driver, new OpenDevice("somebody", client));
        client.Send(driver, new GetDeviceInfo(Session));

        core.Reply(new CoreReplied((await NextAsync<CoreCall>(core)).Number, new DeviceOpened(Session)));
        var second = await NextAsync<CoreCall>(core);
        Assert.IsType<MapRegion>(second.Request);
        core.Reply(new CoreReplied(second.Number, DeviceDone.Instance));

        await NextAsync<DeviceDone>(client);
        await NextAsync<GetDeviceInfo>(core);
    }

    [Fact]
    public async Task The_end_of_a_session_waits_for_the_core_too()
    {
        var told = CreateTestProbe();
        var driver = Driver(own =>
        {
            own.Closed = session => told.Ref.Tell(session);
            own.Take<ResetDevice>(reset => own.Ask(reset, _ => told.Ref.Tell("reset")));
        });
        client.Send(driver, new ResetDevice(Session));
        var call = await NextAsync<CoreCall>(core);
        supervisor.Send(driver, new SessionClosed(Session, "somebody", "its holder died"));

        core.Reply(new CoreReplied(call.Number, DeviceDone.Instance));

        Assert.Equal("reset", await NextAsync<string>(told));
        await NextAsync<SessionId>(told);
    }

    [Fact]
    public async Task Each_requester_gets_the_answer_to_its_own_question()
    {
        var other = CreateTestProbe();
        var driver = Driver(own => own.Take<ReadRegion>(read => own.Ask(read, own.Answer)));
        client.Send(driver, new ReadRegion(Session, 0, 0, 1));
        other.Send(driver, new ReadRegion(Session, 0, 0, 2));

        core.Reply(new CoreReplied((await NextAsync<CoreCall>(core)).Number, new RegionRead(new byte[1])));
        core.Reply(new CoreReplied((await NextAsync<CoreCall>(core)).Number, new RegionRead(new byte[2])));

        Assert.Equal(1, (await NextAsync<RegionRead>(client)).Data.Length);
        Assert.Equal(2, (await NextAsync<RegionRead>(other)).Data.Length);
    }

    [Fact]
    public async Task Two_questions_at_once_are_a_fault_of_the_driver_that_its_requester_hears_of()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset =>
        {
            own.Ask(reset, _ => { });
            own.Ask(reset, own.Answer);
        }));

        client.Send(driver, new ResetDevice(Session));

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(client)).Error.Errno);
    }

    // ---- The core's deadline ---------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_core_that_does_not_answer_in_time_fails_the_request_once_and_restarts_the_driver()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer)));
        client.Send(driver, new ResetDevice(Session));
        await NextAsync<CoreCall>(core);

        Timers.Advance(TimeSpan.FromSeconds(10));

        var failed = await NextAsync<DeviceFailed>(client);
        Assert.Equal(Errno.EIO, failed.Error.Errno);
        Assert.Contains("ResetDevice", failed.Error.Sentence);
        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task Requests_that_waited_for_a_silent_core_are_served_after_the_restart()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer)));
        client.Send(driver, new ResetDevice(Session));
        client.Send(driver, new GetDeviceInfo(Session));
        await NextAsync<CoreCall>(core);

        Timers.Advance(TimeSpan.FromSeconds(10));

        await NextAsync<GetDeviceInfo>(core);
        Assert.Equal(client.Ref, core.LastSender);
    }

    [Fact]
    public async Task A_core_that_answers_too_late_is_not_heard()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer)));
        client.Send(driver, new ResetDevice(Session));
        var call = await NextAsync<CoreCall>(core);
        Timers.Advance(TimeSpan.FromSeconds(10));
        await NextAsync<DeviceFailed>(client);

        core.Send(driver, new CoreReplied(call.Number, DeviceDone.Instance));

        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task A_late_answer_is_not_taken_for_the_answer_to_the_next_question()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer)));
        client.Send(driver, new ResetDevice(Session));
        var late = await NextAsync<CoreCall>(core);
        Timers.Advance(TimeSpan.FromSeconds(10));
        await NextAsync<DeviceFailed>(client);
        client.Send(driver, new ResetDevice(Session));
        var next = await NextAsync<CoreCall>(core);

        core.Send(driver, new CoreReplied(late.Number, new RegionWritten(1)));
        core.Send(driver, new CoreReplied(next.Number, DeviceDone.Instance));

        await NextAsync<DeviceDone>(client);
    }

    [Fact]
    public async Task An_answer_in_time_ends_the_deadline()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer)));
        client.Send(driver, new ResetDevice(Session));
        core.Reply(new CoreReplied((await NextAsync<CoreCall>(core)).Number, DeviceDone.Instance));
        await NextAsync<DeviceDone>(client);

        Timers.Advance(TimeSpan.FromMinutes(1));

        await AssertNothingMoreAsync(driver);
    }

    // ---- A driver that throws --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_handler_that_throws_costs_its_requester_one_EIO()
    {
        var driver = Driver(own => own.Take<ResetDevice>(_ => throw new InvalidOperationException("bad luck")));

        client.Send(driver, new ResetDevice(Session));

        var failed = await NextAsync<DeviceFailed>(client);
        Assert.Equal(Errno.EIO, failed.Error.Errno);
        Assert.Contains("bad luck", failed.Error.Sentence);
        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task A_condition_that_throws_costs_its_requester_one_EIO()
    {
        var driver = Driver(own => own.Take<ResetDevice>(_ => throw new InvalidOperationException("bad luck"), _ => { }));

        client.Send(driver, new ResetDevice(Session));

        await NextAsync<DeviceFailed>(client);
        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task A_driver_that_throws_at_the_cores_answer_costs_its_requester_one_EIO()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset => own.Ask(reset, _ => throw new InvalidOperationException("bad luck"))));
        client.Send(driver, new ResetDevice(Session));

        core.Reply(new CoreReplied((await NextAsync<CoreCall>(core)).Number, DeviceDone.Instance));

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(client)).Error.Errno);
        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task A_driver_that_throws_after_its_answer_has_answered()
    {
        var driver = Driver(own => own.Take<ResetDevice>(_ =>
        {
            own.Answer(DeviceDone.Instance);
            throw new InvalidOperationException("bad luck");
        }));

        client.Send(driver, new ResetDevice(Session));

        await NextAsync<DeviceDone>(client);
        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task A_driver_that_throws_at_the_end_of_a_session_tells_no_requester()
    {
        var driver = Driver(own =>
        {
            own.Closed = _ => throw new InvalidOperationException("bad luck");
            own.Take<ResetDevice>(_ => own.Answer(DeviceDone.Instance));
        });
        client.Send(driver, new ResetDevice(Session));
        await NextAsync<DeviceDone>(client);

        supervisor.Send(driver, new SessionClosed(Session, "somebody", "its holder died"));

        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task A_driver_is_new_after_it_threw()
    {
        var driver = Driver(own =>
        {
            var asked = 0;
            own.Take<ResetDevice>(_ => throw new InvalidOperationException("bad luck"));
            own.Take<GetMigrationDataSize>(_ => own.Answer(new MigrationDataSizeRead((ulong)++asked)));
        });
        client.Send(driver, new GetMigrationDataSize(Session));
        client.Send(driver, new ResetDevice(Session));
        client.Send(driver, new GetMigrationDataSize(Session));

        Assert.Equal(1UL, (await NextAsync<MigrationDataSizeRead>(client)).Bytes);
        await NextAsync<DeviceFailed>(client);
        Assert.Equal(1UL, (await NextAsync<MigrationDataSizeRead>(client)).Bytes);
    }

    // ---- A driver that is stopped ----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_driver_that_is_stopped_while_it_asks_tells_its_requester()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer)));
        client.Send(driver, new ResetDevice(Session));
        await NextAsync<CoreCall>(core);

        Sys.Stop(driver);

        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(client)).Error.Errno);
    }

    [Fact]
    public async Task A_driver_that_is_stopped_tells_those_who_wait_their_turn()
    {
        var waiting = CreateTestProbe();
        var driver = Driver(own =>
        {
            own.Take<ResetDevice>(reset => own.Ask(reset, _ => own.Ask(reset, own.Answer)));
        });
        client.Send(driver, new ResetDevice(Session));
        waiting.Send(driver, new GetDeviceInfo(Session));
        core.Reply(new CoreReplied((await NextAsync<CoreCall>(core)).Number, DeviceDone.Instance));
        await NextAsync<CoreCall>(core);

        Sys.Stop(driver);

        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(waiting)).Error.Errno);
    }
}
