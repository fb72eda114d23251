using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Cluster;
using Akka.Configuration;
using Akka.Dispatch;
using Akka.Event;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

/// <summary>Tests with real actor systems on the loopback interface, with remoting and cluster. Every wait ends after 30 s.</summary>
public abstract class WireNodeTests : IAsyncDisposable
{
    private readonly List<Node> nodes = [];
    private readonly CancellationTokenSource patience =
        CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);

    protected WireNodeTests() => patience.CancelAfter(TimeSpan.FromSeconds(30));

    protected CancellationToken Patience => patience.Token;

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await Task.WhenAll(nodes.Select(n => n.System.Terminate()));
        patience.Dispose();
    }

    protected static Address AddressOf(int port) => new("akka.tcp", "fabric", "127.0.0.1", port);

    protected static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>A cluster of one.</summary>
    protected async Task<Node> FirstOf(WireContract contract, int port = 0, string hocon = "")
    {
        var node = Start(contract, port, hocon);
        node.Cluster.Join(node.Address);
        await node.Up;
        return node;
    }

    /// <param name="contract">Null: a stock node, without our wire.</param>
    protected Node Start(WireContract? contract, int port = 0, string hocon = "", params Address[] seeds)
    {
        var node = new Node(contract, port, hocon, seeds, Patience);
        nodes.Add(node);
        return node;
    }

    protected async Task Stop(Node node)
    {
        nodes.Remove(node);
        await node.System.Terminate();
    }

    protected sealed class Node
    {
        private readonly Channel<string> warnings = Channel.CreateUnbounded<string>();
        private readonly TaskCompletionSource up = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly CancellationToken patience;
        private readonly WireSetup? setup;

        public Node(WireContract? contract, int port, string hocon, Address[] seeds, CancellationToken patience)
        {
            this.patience = patience;
            var config = ConfigurationFactory.ParseString($$"""
                akka {
                  loglevel = WARNING
                  stdout-loglevel = OFF
                  loggers = ["{{typeof(WarningLogger).FullName}}, {{typeof(WarningLogger).Assembly.GetName().Name}}"]
                  actor.provider = cluster
                  remote.dot-netty.tcp.hostname = "127.0.0.1"
                  remote.dot-netty.tcp.port = {{port}}
                  cluster.seed-node-timeout = 1s
                  cluster.seed-nodes = [{{string.Join(',', seeds.Select(s => $"\"{s}\""))}}]
                  coordinated-shutdown.run-by-actor-system-terminate = off
                }

                """ + (contract is null ? "" : WireConfig.ClusterHocon) + hocon);
            var setups = ActorSystemSetup.Create(BootstrapSetup.Create().WithConfig(config), new WarningSink(warnings.Writer));
            if (contract is not null)
                setups = setups.And(setup = new WireSetup(contract));
            System = ActorSystem.Create("fabric", setups);
            Cluster = Cluster.Get(System);
            Cluster.RegisterOnMemberUp(up.SetResult);
        }

        public ActorSystem System { get; }

        public Cluster Cluster { get; }

        public Address Address => Cluster.SelfAddress;

        public long Refusals => setup?.Refusals.Total ?? 0;

        public Task Up => up.Task.WaitAsync(patience);

        /// <summary>What an actor at <c>/user/recorder</c> of this node receives from now on.</summary>
        public ChannelReader<object> Record()
        {
            var received = Channel.CreateUnbounded<object>();
            System.ActorOf(Props.Create(() => new Recorder(received.Writer)), "recorder");
            return received.Reader;
        }

        /// <summary>Sends to the recorder of another node.</summary>
        public void Tell(Node other, object message) =>
            System.ActorSelection(new RootActorPath(other.Address) / "user" / "recorder").Tell(message);

        /// <summary>Waits for the next warning of the wire's that holds all of <paramref name="parts"/>.</summary>
        public async Task Warning(params string[] parts)
        {
            await foreach (var warning in warnings.Reader.ReadAllAsync(patience))
            {
                if (parts.All(p => warning.Contains(p, StringComparison.Ordinal)))
                    return;
            }
        }
    }

    private sealed class Recorder(ChannelWriter<object> received) : UntypedActor
    {
        protected override void OnReceive(object message) => received.TryWrite(message);
    }

    private sealed class WarningSink(ChannelWriter<string> warnings) : Setup
    {
        public ChannelWriter<string> Warnings { get; } = warnings;
    }

    /// <summary>A logger, rather than a subscription, so that nothing said during the start is missed.</summary>
    public sealed class WarningLogger : ReceiveActor, IRequiresMessageQueue<ILoggerMessageQueueSemantics>
    {
        public WarningLogger()
        {
            Receive<InitializeLogger>(_ => Sender.Tell(new LoggerInitialized()));
            Receive<Warning>(w =>
            {
                // Remoting repeats a refusal as its own warning; the wire's own come from its own classes.
                if (w.LogClass.Namespace == typeof(WireContract).Namespace)
                    Context.System.Settings.Setup.Get<WarningSink>().Value.Warnings.TryWrite(w.Message.ToString()!);
            });
            ReceiveAny(_ => { });
        }
    }
}
