using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Drivers;
using Fabric.Devices.Tests.Lab;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core.Inspection;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>
/// A driver as its supervisor and its host see it: fenced, told of resets and of ended sessions, inspected, and watched while it is at its mapped
/// registers. By itself, for a held call takes a thread of the pool.
/// </summary>
[Collection(nameof(ThreadPoolTests))]
public sealed class DriverFenceTests : DeviceTest
{
    private static readonly TimeSpan CallDeadline = DeviceOptions.Default.CallDeadline;

    private static readonly SessionId Session = new(7);

    private static readonly DeviceInfo Info = new(DeviceFlags.Pci, 9, 5);

    private static readonly VfioError Standing = new(Errno.EIO, "It is out of service.");

    private static readonly DeviceRequest[] Any =
        [new OpenDevice("somebody", ActorRefs.Nobody), new GetDeviceInfo(Session), new CloseDevice(Session), new DeviceIoctl(Session, 1, default)];

    private readonly IActorRef host;
    private readonly TestProbe supervisor;
    private readonly TestProbe core;
    private readonly TestProbe client;

    public DriverFenceTests()
    {
        host = Sys.ActorOf(LabHost.Props(CallDeadline));
        (supervisor, core, client) = (CreateTestProbe(), CreateTestProbe(), CreateTestProbe());
    }

    // ---- Fences ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_fenced_driver_answers_every_request_with_its_standing_and_asks_nobody()
    {
        var driver = await DriverAsync(static own => own.Take<DeviceIoctl>(_ => throw new InvalidOperationException("It was asked.")));
        driver.Tell(new FenceDevice(Standing));

        foreach (var request in Any)
            Assert.Equal(Standing, await RefusedAsync(driver, request));

        await core.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
    }

    [Fact]
    public async Task A_fenced_driver_has_no_vote()
    {
        var driver = await DriverAsync(static _ => { });
        driver.Tell(new FenceDevice(Standing));

        Assert.Equal(RecoveryVote.None, (await AskAsync<RecoveryVoted>(driver, new ErrorDetected(ChannelState.Frozen, AnError))).Vote);
    }

    [Fact]
    public async Task Where_opens_alone_are_fenced_the_holder_goes_on()
    {
        var driver = await DriverAsync(static _ => { });
        driver.Tell(new FenceDevice(Standing, OpensOnly: true));

        Assert.Equal(Standing, await RefusedAsync(driver, Any[0]));
        foreach (var request in Any.Skip(1))
        {
            client.Send(driver, request);
            Assert.Same(request, await NextAsync<DeviceRequest>(core));
        }
    }

    [Fact]
    public async Task A_fence_that_is_lifted_lets_all_through_again()
    {
        var driver = await DriverAsync(static _ => { });
        driver.Tell(new FenceDevice(Standing));
        driver.Tell(new FenceDevice(null));

        client.Send(driver, Any[0]);

        Assert.Same(Any[0], await NextAsync<OpenDevice>(core));
    }

    [Fact]
    public async Task What_waits_for_a_pending_answer_is_refused_when_the_fence_comes()
    {
        var driver = await DriverAsync(static own => own.Take<GetDeviceInfo>(info => own.Ask(info, own.Answer)));
        client.Send(driver, new GetDeviceInfo(Session));
        var call = await NextAsync<CoreCall>(core);
        var waits = CreateTestProbe();
        waits.Send(driver, new GetIrqInfo(Session, 0));

        driver.Tell(new FenceDevice(Standing));

        Assert.Equal(Standing, (await NextAsync<DeviceFailed>(waits)).Error);
        core.Send(driver, new CoreReplied(call.Number, new DeviceInfoRead(Info)));
        await NextAsync<DeviceInfoRead>(client);
    }

    // ---- Resets and sessions ---------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_driver_makes_itself_known_to_its_core_and_so_does_a_restarted_one()
    {
        var driver = await DriverAsync(static own => own.Take<DeviceIoctl>(_ => throw new InvalidOperationException("broken")));

        client.Send(driver, Any[3]);

        await NextAsync<DriverAttached>(core);
        Assert.Equal(driver, core.LastSender);
    }

    [Fact]
    public async Task A_reset_that_comes_while_an_answer_is_pending_is_applied_after_it_MG_36()
    {
        var log = new List<string>();
        var driver = await DriverAsync(own =>
        {
            own.Take<GetDeviceInfo>(info => own.Ask(info, reply =>
            {
                log.Add("answered");
                own.Answer(reply);
            }));
            own.WasReset = outcome => log.Add($"reset {outcome.IsOk}");
        });
        client.Send(driver, new GetDeviceInfo(Session));
        var call = await NextAsync<CoreCall>(core);
        core.Send(driver, new FunctionWasReset(VfioResult.Ok));
        core.Send(driver, new CoreReplied(call.Number, new DeviceInfoRead(Info)));

        await NextAsync<DeviceInfoRead>(client);
        await InspectAsync(driver);
        Assert.Equal(["answered", "reset True"], log);
    }

    [Fact]
    public async Task What_a_driver_shows_of_itself_is_its_type_what_it_takes_and_what_it_waits_for()
    {
        var driver = await DriverAsync(static own => own.Take<GetDeviceInfo>(info => own.Ask(info, own.Answer)));
        client.Send(driver, new GetDeviceInfo(Session));
        await NextAsync<CoreCall>(core);
        driver.Tell(new FenceDevice(Standing));

        var state = await InspectAsync(driver);

        Assert.Equal(
            ("ScriptedDriver", "GetDeviceInfo", "GetDeviceInfo", Standing.ToString()),
            (state["type"]!.Value, state["takes over"]!.Value, state["waits for"]!.Value, state["standing refusal"]!.Value));
    }

    // ---- At its registers ------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_command_that_hangs_is_answered_by_the_host_and_its_late_answer_is_thrown_away()
    {
        var hold = new Hold();
        var driver = await DriverAsync(own => own.Take<DeviceIoctl>(_ =>
        {
            hold.Pass();
            own.Answer(DeviceDone.Instance);
        }));
        client.Send(driver, Any[3]);
        await hold.Entered;

        await PassDeadlineAsync();

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(client)).Error.Errno);
        Assert.Equal(new HardwareHung("DeviceIoctl", CallDeadline), await NextAsync<HardwareHung>(supervisor));
        hold.Release();
        Assert.Equal("DeviceIoctl", (await NextAsync<HangEnded>(supervisor)).Call);
        await InspectAsync(driver);
        await client.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
    }

    [Fact]
    public async Task A_command_that_was_answered_and_hangs_after_is_not_answered_again()
    {
        var hold = new Hold();
        var driver = await DriverAsync(own => own.Take<DeviceIoctl>(_ =>
        {
            own.Answer(DeviceDone.Instance);
            hold.Pass();
        }));
        client.Send(driver, Any[3]);
        await hold.Entered;

        await PassDeadlineAsync();

        await NextAsync<HardwareHung>(supervisor);
        await NextAsync<DeviceDone>(client);
        await client.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
        hold.Release();
        await NextAsync<HangEnded>(supervisor);
    }

    [Fact]
    public async Task A_command_that_throws_late_is_not_answered_again()
    {
        var hold = new Hold();
        var driver = await DriverAsync(own => own.Take<DeviceIoctl>(_ => hold.Pass()));
        client.Send(driver, Any[3]);
        await hold.Entered;
        await PassDeadlineAsync();
        await NextAsync<DeviceFailed>(client);
        await NextAsync<HardwareHung>(supervisor);

        hold.Release(new InvalidOperationException("late and broken"));

        await NextAsync<HangEnded>(supervisor);
        await NextAsync<DriverAttached>(core);
        await client.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
    }

    [Fact]
    public async Task What_a_late_command_asks_the_core_for_brings_no_second_answer()
    {
        var hold = new Hold();
        var driver = await DriverAsync(own => own.Take<DeviceIoctl>(_ =>
        {
            hold.Pass();
            own.Ask(new GetDeviceInfo(Session), own.Answer);
        }));
        client.Send(driver, Any[3]);
        await hold.Entered;
        await PassDeadlineAsync();
        await NextAsync<DeviceFailed>(client);

        hold.Release();
        core.Send(driver, new CoreReplied((await NextAsync<CoreCall>(core)).Number, new DeviceInfoRead(Info)));

        await InspectAsync(driver);
        await client.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
    }

    [Fact]
    public async Task What_goes_on_with_the_cores_answer_is_watched_and_its_requester_told()
    {
        var hold = new Hold();
        var driver = await DriverAsync(own => own.Take<GetDeviceInfo>(info => own.Ask(info, reply =>
        {
            hold.Pass();
            own.Answer(reply);
        })));
        client.Send(driver, new GetDeviceInfo(Session));
        core.Send(driver, new CoreReplied((await NextAsync<CoreCall>(core)).Number, new DeviceInfoRead(Info)));
        await hold.Entered;

        await PassDeadlineAsync();

        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(client)).Error.Errno);
        hold.Release();
        await UntilAsync<HangEnded>(supervisor, static _ => true);
        await InspectAsync(driver);
        await client.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
    }

    [Theory]
    [InlineData("the end of a session")]
    [InlineData("what follows a reset")]
    public async Task What_it_does_unasked_is_watched_too_and_nobody_is_answered(string what)
    {
        var hold = new Hold();
        var driver = await DriverAsync(own =>
        {
            own.Take<DeviceIoctl>(_ => own.Answer(DeviceDone.Instance));
            own.Closed = _ => hold.Pass();
            own.WasReset = _ => hold.Pass();
        });
        client.Send(driver, Any[3]);
        await NextAsync<DeviceDone>(client);
        driver.Tell(what == "the end of a session" ? new SessionClosed(Session, "somebody", "it ended") : new FunctionWasReset(VfioResult.Ok));
        await hold.Entered;

        await PassDeadlineAsync();

        Assert.Equal(what, (await NextAsync<HardwareHung>(supervisor)).Call);
        await client.ExpectNoMsgAsync(TimeSpan.Zero, Cancelled);
        hold.Release();
        await NextAsync<HangEnded>(supervisor);
    }

    [Fact]
    public async Task After_a_hang_the_next_request_has_its_own_answer()
    {
        var holds = new Queue<Hold>([new Hold()]);
        var driver = await DriverAsync(own => own.Take<DeviceIoctl>(_ =>
        {
            if (holds.TryPeek(out var held))
                held.Pass();
            own.Answer(DeviceDone.Instance);
        }));
        var hold = holds.Peek();
        client.Send(driver, Any[3]);
        await hold.Entered;
        await PassDeadlineAsync();
        await NextAsync<DeviceFailed>(client);
        hold.Release();
        await UntilAsync<HangEnded>(supervisor, static _ => true);
        holds.Clear();

        client.Send(driver, Any[3]);

        await NextAsync<DeviceDone>(client);
    }

    [Fact]
    public async Task A_driver_that_is_stopped_is_watched_no_more()
    {
        var driver = await DriverAsync(static own => own.Take<DeviceIoctl>(_ => own.Answer(DeviceDone.Instance)));
        client.Send(driver, Any[3]);
        await NextAsync<DeviceDone>(client);
        Assert.Equal(1, await AskAsync<int>(host, LabHost.Look.Instance));
        Watch(driver);
        Sys.Stop(driver);
        await ExpectTerminatedAsync(driver, cancellationToken: Cancelled);

        Assert.Equal(0, await AskAsync<int>(host, LabHost.Look.Instance));
    }

    /// <summary>The driver answers and its host gives it up at the same moment, again and again: one answer each time.</summary>
    [Fact]
    public async Task At_the_deadline_a_command_has_one_answer()
    {
        const int Rounds = 1_000;
        using var start = new Barrier(2);
        var (answeredFirst, delay) = (0, 0);
        var driver = await DriverAsync(own => own.Take<DeviceIoctl>(_ =>
        {
            start.SignalAndWait(Cancelled);
            // As long as the host needs to look, so that now the one and now the other is first.
            Thread.SpinWait(Volatile.Read(ref delay));
            own.Answer(DeviceDone.Instance);
        }));
        for (var round = 0; round < Rounds; round++)
        {
            client.Send(driver, Any[3]);
            start.SignalAndWait(Cancelled);
            Time.Advance(CallDeadline);
            host.Tell(LabHost.Look.Instance, supervisor);
            // Whoever it was: and when driver and host are through, no second one is there. The next round goes the other way.
            var driverWasFirst = await client.ReceiveOneAsync(TimeSpan.FromSeconds(15), Cancelled) is DeviceDone;
            answeredFirst += driverWasFirst ? 1 : 0;
            Volatile.Write(ref delay, Math.Max(0, delay + (driverWasFirst ? 50 : -50)));
            await InspectAsync(driver);
            await AskAsync<int>(host, LabHost.Look.Instance);
            Assert.False(client.HasMessages, $"two answers in round {round}");
        }

        Assert.InRange(answeredFirst, 1, Rounds - 1);
    }

    private async Task<IActorRef> DriverAsync(Action<ScriptedDriver> script)
    {
        var driver = supervisor.ChildActorOf(
            ScriptedDriver.Props(new DriverContext(AnError.Source, default, core) { Time = Time, Host = host }, script),
            new OneForOneStrategy(static _ => Directive.Restart), Cancelled);
        await NextAsync<DriverAttached>(core);
        return driver;
    }

    private async Task PassDeadlineAsync()
    {
        Time.Advance(CallDeadline);
        await AskAsync<int>(host, LabHost.Look.Instance);
    }

    private static async Task<InspectNode> InspectAsync(IActorRef driver) => (await AskAsync<PartInspected>(driver, InspectPart.Instance)).State;
}
