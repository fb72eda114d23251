using Akka.Actor;
using Akka.TestKit;
using Fabric.Vfio;

namespace Fabric.Devices.Tests;

/// <summary>
/// What a bad driver does, on a host: it is contained, its requester has one answer, the device's history says whose fault it is, and the device
/// and its neighbour go on. By itself, for a held call takes a thread of the pool.
/// </summary>
[Collection(nameof(ThreadPoolTests))]
public sealed class DriverMisdeedTests : SlotTest
{
    private static readonly Dictionary<string, Action<ScriptedDriver, DeviceRequest>> Misdeeds = new()
    {
        ["throws"] = static (_, _) => throw new InvalidOperationException("bad luck"),
        ["answers twice"] = static (own, _) =>
        {
            own.Answer(DeviceDone.Instance);
            own.Answer(DeviceDone.Instance);
        },
        ["forwards what it answered"] = static (own, _) =>
        {
            own.Answer(DeviceDone.Instance);
            own.Pass();
        },
        ["answers what it forwarded"] = static (own, _) =>
        {
            own.Pass();
            own.Answer(DeviceDone.Instance);
        },
        ["forwards twice"] = static (own, _) =>
        {
            own.Pass();
            own.Pass();
        },
        ["does not answer"] = static (_, _) => { },
        ["answers nothing"] = static (own, _) => own.Answer(null!),
        ["asks twice at once"] = static (own, request) =>
        {
            own.Ask(request, static _ => { });
            own.Ask(request, own.Answer);
        },
        ["asks and waits at once"] = static (own, request) =>
        {
            own.Ask(request, own.Answer);
            own.Wait(TimeSpan.Zero, static () => { });
        },
        ["answers before and after the core"] = static (own, request) =>
        {
            own.Ask(request, own.Answer);
            own.Answer(DeviceDone.Instance);
        },
        ["does not answer after it asked"] = static (own, request) => own.Ask(request, static _ => { }),
        ["throws after it asked"] = static (own, request) => own.Ask(request, static _ => throw new InvalidOperationException("bad luck")),
        ["takes the core's answer for another one"] = static (own, request) => own.Ask(request, static reply => _ = (RegionRead)reply),
    };

    private readonly List<Hang> hangs = [];

    public DriverMisdeedTests()
    {
        Bus.Add(One);
        Bus.Add(Other);
    }

    public static TheoryData<string, string, Errno> Cases => new()
    {
        { "throws", "driver-restarted", Errno.EIO },
        { "answers twice", "driver-restarted", Errno.None },
        { "forwards what it answered", "driver-restarted", Errno.None },
        // The core has it, and does not know it.
        { "answers what it forwarded", "driver-restarted", Errno.ENOTTY },
        { "forwards twice", "driver-restarted", Errno.ENOTTY },
        { "does not answer", "driver-fault", Errno.EIO },
        { "answers nothing", "driver-restarted", Errno.EIO },
        { "asks twice at once", "driver-restarted", Errno.EIO },
        { "asks and waits at once", "driver-restarted", Errno.EIO },
        { "answers before and after the core", "driver-restarted", Errno.None },
        { "does not answer after it asked", "driver-fault", Errno.EIO },
        { "throws after it asked", "driver-restarted", Errno.EIO },
        { "takes the core's answer for another one", "driver-restarted", Errno.EIO },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task A_bad_driver_is_contained_named_and_its_requester_has_one_answer(string misdeed, string kind, Errno errno)
    {
        var host = Host(drivers: At(One, own => own.Take<DeviceIoctl>(request => Misdeeds[misdeed](own, request))));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);

        Client.Send(front, new DeviceIoctl(session, 1, default));

        Assert.Equal(errno, ErrnoOf(await NextAsync<DeviceReply>(Client)));
        var note = await NoteAsync(One, kind);
        Assert.Contains(kind == "driver-fault" ? "ScriptedDriver" : "scripted", note.Message, StringComparison.Ordinal);
        // Its session is what it was, and the next answer is the next question's.
        Client.Send(front, new GetDeviceInfo(session));
        await NextAsync<DeviceInfoRead>(Client);
        Assert.Equal((DeviceState.Open, DeviceHealth.Healthy), (await StateOfAsync(host, One)));
        await OpenAsync(await FrontAsync(host, Other), TestActor);
    }

    [Fact]
    public void Every_misdeed_is_a_case() => Assert.Equal(Misdeeds.Keys, Cases.Select(static row => row.Data.Item1));

    [Fact]
    public async Task A_driver_that_misbehaves_again_and_again_is_out_of_service_with_a_reason_and_a_way_back()
    {
        var host = Host(drivers: At(One, own => own.Take<DeviceIoctl>(static _ => throw new InvalidOperationException("bad luck"))));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        for (var times = 0; times <= Options.RestartBudget; times++)
            Assert.Equal(Errno.EIO, (await RefusedAsync(front, new DeviceIoctl(session, 1, default))).Errno);

        var status = await StateAsync(One, DeviceState.Quarantined);

        Assert.Contains("bad luck", status.Reason, StringComparison.Ordinal);
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        await OpenAsync(await FrontAsync(host, One), TestActor);
    }

    [Theory]
    [InlineData("and answers then", false)]
    [InlineData("and throws then", false)]
    [InlineData("and asks then", false)]
    [InlineData("and forwards then", false)]
    [InlineData("while it looks on", false)]
    [InlineData("after its answer", true)]
    public async Task A_driver_that_deadlocks_is_given_up_and_what_it_does_then_is_not_heard(string how, bool answered)
    {
        var hang = new Hang();
        hangs.Add(hang);
        var host = Host(drivers: At(One, own =>
        {
            if (how == "while it looks on")
                own.See<DeviceIoctl>(_ => hang.Enter());
            own.Take<DeviceIoctl>(ioctl =>
            {
                if (answered)
                    own.Answer(DeviceDone.Instance);
                hang.Enter();
                switch (how)
                {
                    case "and answers then":
                        own.Answer(DeviceDone.Instance);
                        break;
                    case "and throws then":
                        throw new InvalidOperationException("late and broken");
                    case "and asks then":
                        own.Ask(new GetDeviceInfo(ioctl.Session), own.Answer);
                        break;
                    case "and forwards then":
                        own.Pass();
                        break;
                }
            });
        }));
        var front = await FrontAsync(host, One);
        var session = await OpenAsync(front, TestActor);
        Client.Send(front, new DeviceIoctl(session, 1, default));
        await hang.Entered;

        Assert.Equal(answered ? Errno.None : Errno.EIO, ErrnoOf(await InTimeAsync<DeviceReply>(Client, TimeSpan.FromSeconds(20))));
        if (answered)
            await PassAsync(Options.CallDeadline * 2);
        Assert.Contains("DeviceIoctl", (await NoteAsync(One, "hung")).Message, StringComparison.Ordinal);
        Assert.Equal((DeviceState.Quarantined, DeviceHealth.Unhealthy), await StateOfAsync(host, One));
        await OpenAsync(await FrontAsync(host, Other), TestActor);

        hang.Release();

        await NoteAsync(One, "hang-ended");
        await AskAsync<HostDone>(host, new UnquarantineDevice(One, "me"));
        await OpenAsync(await FrontAsync(host, One), TestActor);
        Assert.False(Client.HasMessages, "A second answer came.");
    }

    [Fact]
    public async Task A_call_of_the_cores_that_is_slow_and_not_too_slow_does_not_cost_a_driver_that_waits_for_it()
    {
        var slow = Options with { SlowCallDeadline = TimeSpan.FromSeconds(40) };
        var host = Host(slow, drivers: At(One, own => own.Take<OpenDevice>(open => own.Ask(open, own.Answer))));
        var front = await FrontAsync(host, One);
        using var hang = Bus.HangAt(One, "reset");
        Client.Send(front, new OpenDevice("somebody", Client));
        await hang.Entered;

        await PassAsync(TimeSpan.FromSeconds(30));
        hang.Release();

        await NextAsync<DeviceOpened>(Client);
        Assert.DoesNotContain(await HistoryAsync(host, One), static entry => entry.Kind == "driver-restarted");
    }

    private async Task PassAsync(TimeSpan time)
    {
        for (var passed = TimeSpan.Zero; passed < time; passed += Options.CallDeadline / 2)
        {
            Advance(Options.CallDeadline / 2);
            await ReceiveNothingAsync();
        }
    }

    /// <summary>Room for real threads between deadlines.</summary>
    private async Task ReceiveNothingAsync()
    {
        TestProbe quiet = CreateTestProbe();
        await ReceiveAsync(quiet, turns: 5);
    }

    private static async Task<(DeviceState State, DeviceHealth Health)> StateOfAsync(IActorRef host, Fabric.Pci.PciAddress address)
    {
        var status = await StatusAsync(host, address);
        return (status.State, status.Health);
    }

    private static Errno ErrnoOf(DeviceReply reply) => (reply as DeviceFailed)?.Error.Errno ?? Errno.None;

    protected override void AfterAll()
    {
        hangs.ForEach(static hang => hang.Release());
        base.AfterAll();
    }
}
