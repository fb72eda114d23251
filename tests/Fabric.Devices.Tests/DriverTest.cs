using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Drivers;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>One driver between a test that asks and a test that answers as its core.</summary>
public abstract class DriverTest : DeviceTest
{
    private protected static readonly SessionId Session = new(7);

    private protected static readonly DeviceInfo Info = new(DeviceFlags.Pci, 9, 5);

    private static readonly SupervisorStrategy Restarting = new OneForOneStrategy(_ => Directive.Restart);

    private protected readonly TestProbe supervisor;
    private protected readonly TestProbe core;
    private protected readonly TestProbe client;

    protected DriverTest()
    {
        (supervisor, core, client) = (CreateTestProbe(), CreateTestProbe(), CreateTestProbe());
        core.IgnoreMessages<DriverAttached>(_ => true);
    }

    private protected IActorRef Driver(Action<ScriptedDriver> script) =>
        supervisor.ChildActorOf(ScriptedDriver.Props(new DriverContext(default, default, core), script), Restarting, Cancelled);

    /// <summary>Answers the driver's next question, whatever it is.</summary>
    private protected async Task<T> AnswerAsync<T>(DeviceReply reply)
        where T : DeviceRequest
    {
        var call = await NextAsync<CoreCall>(core);
        core.Reply(new CoreReplied(call.Number, reply));
        return Assert.IsType<T>(call.Request);
    }

    /// <summary>What it has been sent before is through.</summary>
    private protected static async Task SettleAsync(IActorRef driver) => await AskAsync<PartInspected>(driver, InspectPart.Instance);

    /// <summary>Nothing but the echo of one more request comes to the client.</summary>
    private protected async Task AssertNothingMoreAsync(IActorRef driver)
    {
        client.Send(driver, new GetIrqInfo(Session, 3));
        await UntilAsync<GetIrqInfo>(core, _ => true);
        core.Reply(new IrqInfoRead(default));
        await NextAsync<IrqInfoRead>(client);
    }
}
