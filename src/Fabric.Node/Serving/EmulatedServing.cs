using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Hosting.Logging;
using Fabric.Devices;
using Fabric.Hardware.Emulated;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Fabric.Vfio;
using Fabric.VfioUser.Server;

namespace Fabric.Node.Serving;

/// <summary>
/// One emulated card, its host's actors, and a vfio-user server in front of one of its functions: no cluster, no journal, no HTTP. Of a card that
/// has virtual functions the first of them is served, as a guest would be given it.
/// </summary>
internal static class EmulatedServing
{
    private const long StateBytes = 64 << 20;

    private static readonly TimeSpan ProbeDeadline = TimeSpan.FromSeconds(60);

    /// <returns>0 when it was told to end, 1 when it could not serve, 2 for a model that there is not.</returns>
    public static async Task<int> RunAsync(string model, string socket, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        if (Hardware(model) is not { } hardware)
        {
            await error.WriteLineAsync(
                $"fabricd: there is no emulated model '{model}'; choose one of {string.Join(", ", EmulatedModels.All.Select(static known => known.Name))}.");
            return 2;
        }

        using var loggers = LoggerFactory.Create(static logging => logging
            .AddSimpleConsole(static console => console.SingleLine = true)
            .AddFilter(static level => level >= LogLevel.Warning));
        var config = ConfigurationFactory.ParseString(AkkaLogging.Hocon);
        using var bus = new EmulatedBus(hardware, TimeProvider.System);
        var system = ActorSystem.Create("serve", ActorSystemSetup.Create(new LoggerFactorySetup(loggers)).And(BootstrapSetup.Create().WithConfig(config)));
        try
        {
            var served = bus.Functions.FirstOrDefault(static function => function.IsVirtualFunction) ?? bus.Functions[0];
            var started = await StartAsync(system, bus, served, socket);
            if (!started.IsOk)
            {
                await error.WriteLineAsync($"fabricd: {socket}: {started.Error.Sentence}");
                return 1;
            }

            await using var server = started.Value;
            await output.WriteLineAsync(server.Path.AsMemory(), cancellation);
            await output.FlushAsync(cancellation);
            await EndedAsync(cancellation);
            return 0;
        }
        finally
        {
            await system.Terminate();
        }
    }

    /// <summary>Null for a model that there is not.</summary>
    private static EmulatedBusOptions? Hardware(string model) => EmulatedModels.All.FirstOrDefault(known => known.Name == model) switch
    {
        null => null,
        { Name: EmulatedModels.Accelerator } => new EmulatedBusOptions(1, 1, StateBytes),
        var card => new EmulatedBusOptions(0, 0, StateBytes)
        {
            Cards = [new EmulatedCard(card.Name, VirtualFunctions: Math.Min(1, card.TotalVirtualFunctions))],
        },
    };

    private static async Task<VfioResult<VfioUserServer>> StartAsync(ActorSystem system, EmulatedBus bus, IPciFunction served, string socket)
    {
        var options = new Fabric.Devices.HostOptions(bus, HostDrivers.Without([]), [], static _ => null, TimeProvider.System)
        {
            Devices = HostSystem.DeviceOptionsOf(new DevicesSettings()),
        };
        var host = system.ActorOf(HostActor.Props(options), "host");
        return await host.Ask<object>(new FindDevice(served.Address), ProbeDeadline) switch
        {
            DeviceFound found => await VfioUserServer.StartAsync(system, found.Front, socket),
            DeviceFailed failed => failed.Error,
            var other => throw new InvalidOperationException($"The host answered {other.GetType().Name}."),
        };
    }

    private static async Task EndedAsync(CancellationToken cancellation)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var registration = cancellation.Register(ended.SetResult);
        await ended.Task;
    }
}
