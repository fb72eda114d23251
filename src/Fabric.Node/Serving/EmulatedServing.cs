using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Akka.Hosting.Logging;
using Fabric.Devices;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Fabric.Vfio;
using Fabric.VfioUser.Server;

namespace Fabric.Node.Serving;

/// <summary>
/// The hardware of one model, its host's actors, and a vfio-user server in front of its function: no cluster, no journal, no HTTP.
/// </summary>
internal static class EmulatedServing
{
    private static readonly TimeSpan ProbeDeadline = TimeSpan.FromSeconds(60);

    /// <returns>0 when it was told to end, 1 when it could not serve, 2 for a model that there is not.</returns>
    public static async Task<int> RunAsync(string model, string socket, TextWriter output, TextWriter error, CancellationToken cancellation)
    {
        if (ServedModel.Find(model) is not { } known)
        {
            var names = string.Join(", ", ServedModel.All.Select(static other => other.Name));
            await error.WriteLineAsync($"fabricd: there is no emulated model '{model}'; choose one of {names}.");
            return 2;
        }

        using var loggers = LoggerFactory.Create(static logging => logging
            .AddSimpleConsole(static console => console.SingleLine = true)
            .AddFilter(static level => level >= LogLevel.Warning));
        var config = BootstrapSetup.Create().WithConfig(ConfigurationFactory.ParseString("akka.loglevel = WARNING").WithFallback(AkkaLogging.Hocon));
        using var hardware = known.Make();
        var system = ActorSystem.Create("serve", ActorSystemSetup.Create(new LoggerFactorySetup(loggers)).And(config));
        try
        {
            var started = await StartAsync(system, hardware, socket);
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

    private static async Task<VfioResult<VfioUserServer>> StartAsync(ActorSystem system, ServedHardware hardware, string socket)
    {
        var options = new Fabric.Devices.HostOptions(hardware.Bus, HostDrivers.Without([]), [], static _ => null, TimeProvider.System)
        {
            Devices = HostSystem.DeviceOptionsOf(new DevicesSettings()),
        };
        var host = system.ActorOf(HostActor.Props(options), "host");
        return await host.Ask<object>(new FindDevice(hardware.Function.Address), ProbeDeadline) switch
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
