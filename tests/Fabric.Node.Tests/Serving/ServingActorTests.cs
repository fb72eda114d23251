using System.Net.Sockets;
using System.Threading.Channels;
using Akka.Actor;
using Akka.Actor.Dsl;
using Fabric.Devices;
using Fabric.Migration.Fleet;
using Fabric.Migration.Hosts;
using Fabric.Migration.Wire;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Fabric.Pci;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Serving;

/// <summary>Devices of a host on sockets: asked for, configured, ended, and away with their devices.</summary>
public sealed class ServingActorTests : IDisposable
{
    private const string Device = "fab0:01:00.1";
    private const string By = "ops@desk";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly TemporaryFolder folder = new();

    private string Socket => Path.Combine(folder.Path, "s");

    [Fact]
    public async Task A_device_is_served_when_it_is_asked_for_and_no_more_when_that_is_ended()
    {
        await using var host = Start();
        var served = Assert.IsType<ServingChanged>(await AskAsync(host, new ServeFunction(Device, Socket, By))).Served;
        Assert.Equal(new ServedEntry(Device, Socket, IsConfigured: false, 0, null), served);
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Socket));
        Assert.Equal(served, Assert.IsType<ServingChanged>(await AskAsync(host, new ServeFunction(Device, Socket, By))).Served);
        using (var client = await ConnectAsync())
        {
            await UntilAsync(() => IsOpenAsync(host));
            Assert.Equal(1, Assert.Single(await ServedAsync(host)).Clients);
            Assert.IsType<ServingChanged>(await AskAsync(host, new EndServing(Device, By)));
            Assert.Equal(0, await client.ReceiveAsync(new byte[1], TestContext.Current.CancellationToken));
        }

        Assert.False(Path.Exists(Socket));
        Assert.Empty(await ServedAsync(host));
        await UntilAsync(async () => !await IsOpenAsync(host));
        Assert.Equal("ENOENT", Assert.IsType<OperationRefused>(await AskAsync(host, new EndServing(Device, By))).Errno);
    }

    [Fact]
    public async Task What_cannot_be_served_is_refused_and_nothing_is_kept_of_it()
    {
        await using var host = Start();
        await File.WriteAllTextAsync(Socket, "precious", TestContext.Current.CancellationToken);
        await RefusedAsync("EEXIST", new ServeFunction(Device, Socket, By));
        await RefusedAsync("ENODEV", new ServeFunction("fab0:77:00.0", Socket + "2", By));
        await RefusedAsync("EINVAL", new ServeFunction("third", Socket + "2", By));
        await RefusedAsync("EINVAL", new ServeFunction(Device, "relative", By));
        await RefusedAsync("EINVAL", new ServeFunction(Device, "/" + new string('s', 107), By));
        await RefusedAsync("ENOENT", new ServeFunction(Device, Path.Combine(folder.Path, "nowhere", "s"), By));
        await RefusedAsync("ENODEV", new ServeFunction("fab0:77:00.0", Socket + "2", By) { PlanOnly = true });
        Assert.IsType<ServingChanged>(await AskAsync(host, new ServeFunction(Device, Socket + "2", By)));
        await RefusedAsync("EBUSY", new ServeFunction(Device, Socket + "3", By));
        await RefusedAsync("EBUSY", new ServeFunction("fab0:01:00.2", Socket + "2", By));
        Assert.Equal("precious", await File.ReadAllTextAsync(Socket, TestContext.Current.CancellationToken));
        Assert.Equal(Socket + "2", Assert.Single(await ServedAsync(host)).Socket);

        async Task RefusedAsync(string errno, IServingOperation operation) =>
            Assert.Equal(errno, Assert.IsType<OperationRefused>(await AskAsync(host, operation)).Errno);
    }

    [Fact]
    public async Task A_plan_says_what_would_be_done_and_does_nothing()
    {
        await using var host = Start();
        var serve = new ServeFunction(Device, Socket, By);
        Assert.Equal($"{Device} would be served on {Socket}", Assert.IsType<OperationPlanned>(await AskAsync(host, serve with { PlanOnly = true })).Would);
        Assert.False(Path.Exists(Socket));
        await AskAsync(host, serve);
        using var client = await ConnectAsync();
        var plan = Assert.IsType<OperationPlanned>(await AskAsync(host, new EndServing(Device, By) { PlanOnly = true }));
        Assert.Equal((1, $"{Device} would be served on {Socket} no more"), (plan.Affects.Length, plan.Would));
        Assert.True(Path.Exists(Socket));
    }

    [Fact]
    public async Task No_claim_is_offered_what_is_served_until_that_is_ended()
    {
        await using var host = Start();
        using var claims = new Claims(host);
        Assert.Equal([Device], (await claims.PlanAsync()).Devices);
        await AskAsync(host, new ServeFunction(Device, Socket, By));
        var refused = await claims.PlanAsync();
        Assert.Equal(
            [$"alpha/{Device} is held by the socket {Socket}, on which its host serves it; release it, or choose another device."], refused.Reasons);
        await AskAsync(host, new EndServing(Device, By));
        Assert.Equal([Device], (await claims.PlanAsync()).Devices);
    }

    [Fact]
    public async Task What_is_configured_is_served_from_the_start_and_its_socket_goes_with_the_host()
    {
        using (var dead = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
            dead.Bind(new UnixDomainSocketEndPoint(Socket));
        await using (var host = Start(new SocketSettings { Address = Device, Socket = Socket }))
        {
            await UntilAsync(async () => (await ServedAsync(host)).Single() is { IsConfigured: true, Reason: null });
            using var client = await ConnectAsync();
        }

        Assert.False(Path.Exists(Socket));
    }

    [Fact]
    public async Task A_device_out_of_service_has_no_socket_until_it_is_back()
    {
        await using var host = Start();
        await AskAsync(host, new ServeFunction(Device, Socket, By));
        using var client = await ConnectAsync();
        await DoneAsync(host, new QuarantineDevice(PciAddress.Parse(Device), "a test", By));
        await UntilAsync(() => Task.FromResult(!Path.Exists(Socket)));
        Assert.NotNull(Assert.Single(await ServedAsync(host)).Reason);
        await DoneAsync(host, new UnquarantineDevice(PciAddress.Parse(Device), By));
        await UntilAsync(async () => (await ServedAsync(host)).Single().Reason is null);
        using var again = await ConnectAsync();
    }

    public void Dispose() => folder.Dispose();

    private HostSystem Start(params SocketSettings[] sockets) => HostSystem.Start(
        new FabricSettings
        {
            Node = new NodeSettings { Name = "alpha", DataDirectory = folder.Path },
            DataPlane = new DataPlaneSettings { Port = 0 },
            Hardware = new HardwareSettings
            {
                Emulated = new EmulatedSettings { Accelerators = 1, FunctionsPerAccelerator = 2, StateSize = "256KiB" },
                Linux = new LinuxSettings { Enabled = false },
            },
            Serving = new ServingSettings { Sockets = sockets },
        },
        NullLoggerFactory.Instance,
        TimeProvider.System);

    private static Task<IWireMessage> AskAsync(HostSystem host, IServingOperation operation) =>
        new DeviceOperations("alpha", host.Devices, host.Serving, TimeProvider.System).RunAsync(operation);

    private static async Task<ServedEntry[]> ServedAsync(HostSystem host) => Assert.IsType<ServedRead>(await AskAsync(host, new ReadServed())).Served;

    /// <summary>Stands for the fabric above a host.</summary>
    private sealed class Claims : IDisposable
    {
        private readonly HostSystem host;
        private readonly Channel<object> told = Channel.CreateUnbounded<object>();
        private readonly IActorRef gateway;

        public Claims(HostSystem host)
        {
            this.host = host;
            var writer = told.Writer;
            gateway = host.System.ActorOf(dsl => dsl.ReceiveAny((message, _) => writer.TryWrite(message)));
            host.Attachments.Tell(new UplinkConnected(gateway));
        }

        public async Task<TargetPlanned> PlanAsync()
        {
            host.Attachments.Tell(new PlanTarget("c1", 0, [new DeviceNeed("accelerator-vf", Device)]));
            while (true)
            {
                var next = told.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask();
                if (await next.WaitAsync(Patience, TestContext.Current.CancellationToken) is TargetPlanned planned)
                    return planned;
            }
        }

        public void Dispose() => host.System.Stop(gateway);
    }

    private static Task<HostDone> DoneAsync(HostSystem host, DeviceCommand command) =>
        host.Devices.Ask<HostDone>(command, Patience, TestContext.Current.CancellationToken);

    private static async Task<bool> IsOpenAsync(HostSystem host) =>
        (await host.Devices.Ask<DeviceList>(ListDevices.Instance, Patience, TestContext.Current.CancellationToken)).Devices
            .Single(static device => device.Address.ToString() == Device).State == DeviceState.Open;

    /// <summary>A client whose VERSION, 0.0 without capabilities, was answered.</summary>
    private async Task<Socket> ConnectAsync()
    {
        var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await client.ConnectAsync(new UnixDomainSocketEndPoint(Socket), TestContext.Current.CancellationToken);
        await client.SendAsync(new byte[] { 1, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, TestContext.Current.CancellationToken);
        var head = new byte[16];
        var answered = client.ReceiveAsync(head, TestContext.Current.CancellationToken).AsTask();
        Assert.Equal(16, await answered.WaitAsync(Patience, TestContext.Current.CancellationToken));
        Assert.Equal([1, 0, 0, 0, 0, 0, 0, 0], head[8..]);
        var rest = new byte[head[4] - 16];
        Assert.Equal(rest.Length, await client.ReceiveAsync(rest, TestContext.Current.CancellationToken));
        return client;
    }

    private static async Task UntilAsync(Func<Task<bool>> isSo)
    {
        using var deadline = new CancellationTokenSource(Patience);
        while (!await isSo())
            await Task.Delay(10, deadline.Token);
    }
}
