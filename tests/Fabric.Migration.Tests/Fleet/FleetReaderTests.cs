using Akka.Actor;
using Fabric.Migration.Fleet;
using Fabric.Migration.Fleet.Moves;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>Reading a fleet page by page, of which any may be lost, and which changes meanwhile.</summary>
public sealed class FleetReaderTests() : Akka.TestKit.Xunit.TestKit("akka.loglevel = OFF\nakka.stdout-loglevel = OFF")
{
    private static readonly Guid Life = Guid.NewGuid();

    /// <summary>Where an answer comes it comes at once; where none comes a test waits so long.</summary>
    private static readonly TimeSpan Deadline = TimeSpan.FromMilliseconds(300);

    [Fact]
    public async Task A_page_that_is_lost_is_asked_for_again()
    {
        var lost = true;

        var read = await ReadAsync(FleetQuestion.AllHosts, question => (lost = !lost) ? Page(question) : null);

        Assert.Equal(["alpha", "beta"], read.Hosts.Select(static host => host.Name));

        static HostsRead Page(object question) => ((ReadHosts)question).After is null
            ? new HostsRead([Part("alpha", version: 1)], IsLast: false)
            : new HostsRead([Part("beta", version: 1)], IsLast: true);
    }

    [Fact]
    public async Task A_page_that_never_comes_is_given_up()
    {
        var asked = 0;

        await Assert.ThrowsAsync<AskTimeoutException>(() => ReadAsync(FleetQuestion.AllClaims, _ =>
        {
            asked++;
            return null;
        }));

        Assert.Equal(2, asked);
    }

    [Fact]
    public async Task An_inventory_that_changes_while_it_is_read_is_read_anew()
    {
        var pages = new Queue<HostsRead>(
        [
            new HostsRead([Part("alpha", version: 1), Part("beta", version: 1, portion: 0, portions: 2)], IsLast: false),
            new HostsRead([Part("beta", version: 2, portion: 0, portions: 2)], IsLast: false),
            new HostsRead([Part("beta", version: 2, portion: 1, portions: 2)], IsLast: true),
        ]);

        var read = await ReadAsync(FleetQuestion.AllHosts, _ => pages.Dequeue());

        Assert.Equal(["alpha 1.0", "beta 2.0", "beta 2.1"], read.Hosts.SelectMany(static host => host.Inventory!.Devices).Select(static device => device.Address));
    }

    [Fact]
    public async Task Moves_that_change_while_they_are_read_are_read_anew()
    {
        var portions = new Queue<(int Portion, long Version)>([(0, 1), (0, 2), (1, 2)]);

        var read = await ReadAsync(FleetQuestion.OnlyMoves, _ => portions.Dequeue() is var (portion, version)
            ? new MovesRead(new MovesPortion(Moves($"{version}.{portion}"), new Telling(Life, version, portion, 2, 0)))
            : null);

        Assert.Equal(["2.0", "2.1"], read.Moves!.Breaker.Misbehaving);
    }

    [Fact]
    public async Task Moves_that_change_all_the_time_are_given_up()
    {
        var version = 0;

        await Assert.ThrowsAsync<AskTimeoutException>(
            () => ReadAsync(FleetQuestion.OnlyMoves, _ => new MovesRead(new MovesPortion(Moves(), new Telling(Life, ++version, 0, 2, 0)))));
    }

    [Fact]
    public async Task What_is_not_asked_for_is_not_read()
    {
        var asked = new List<Type>();

        await ReadAsync(FleetQuestion.OnlyMoves, question =>
        {
            asked.Add(question.GetType());
            return new MovesRead(null);
        });

        Assert.Equal([typeof(ReadMoves)], asked);
    }

    private Task<FleetDescribed> ReadAsync(FleetQuestion question, Func<object, object?> answer) =>
        new FleetReader(Sys.ActorOf(Props.Create(() => new Answering(answer))), Deadline, attempts: 2)
            .ReadAsync(question, TestContext.Current.CancellationToken);

    private static HostPart Part(string host, long version, int portion = 0, int portions = 1) => new(
        new FleetHost(host, "up", "", new HostInventory(host, "", "1.0", [Device($"{host} {version}.{portion}")])),
        new Telling(Life, version, portion, portions, 0));

    private static DeviceEntry Device(string address) =>
        new(address, "1b36:fab0", null, false, null, "closed", "Healthy", null, null, null, null, null, null, null, 0, [], null);

    private static MovesView Moves(params string[] misbehaving) => new([], null, new BreakerView(null, null, null, null, misbehaving));

    private sealed class Answering(Func<object, object?> answer) : UntypedActor
    {
        protected override void OnReceive(object message)
        {
            if (answer(message) is { } reply)
                Sender.Tell(reply);
        }
    }
}
