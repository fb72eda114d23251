using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization;
using Fabric.Migration.Wire;
using Fabric.Node.Api;
using Fabric.Node.Configuration;
using Fabric.Node.Security;
using Microsoft.AspNetCore.Http.Json;

namespace Fabric.Node.Hosting;

/// <summary>The composition root: the only place that chooses hardware, journal and transport.</summary>
internal static class Daemon
{
    /// <returns>0, 1 when it could not run, 2 when its settings are wrong.</returns>
    public static async Task<int> RunAsync(string? configFile, string[] overrides, bool checkOnly, bool untilStdinCloses, CancellationToken cancellation)
    {
        try
        {
            var settings = SettingsLoader.Load(configFile, overrides);
            NodeCredentials.Check(settings.Tls);
            if (checkOnly)
            {
                Console.WriteLine($"{settings.Node.Name}: the settings are right.");
                return 0;
            }

            EnsureFree("cluster.port", IPAddress.Parse(settings.Cluster.Address), settings.Cluster.Port);
            if (settings.IsHost)
                EnsureFree("dataPlane.port", IPAddress.Parse(settings.DataPlane.Address), settings.DataPlane.Port);
            var api = new Uri(settings.Api.Url);
            EnsureFree("api.url", IPAddress.Parse(api.Host.Trim('[', ']')), api.Port);
            using var data = DataDirectory.Take(settings);
            await using var app = Build(settings);
            await ServeAsync(app, settings, untilStdinCloses, cancellation);
            // Not the process's exit code: Akka's hosting sets that to -1 whenever a membership ends and is joined anew.
            return app.Services.GetRequiredService<FabricPresence>().IsRefused ? 1 : 0;
        }
        catch (SettingsException wrong)
        {
            await Console.Error.WriteLineAsync($"fabricd: {wrong.Message}");
            return 2;
        }
        catch (Exception failed) when (failed is IOException or SocketException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"fabricd: could not start: {failed.Message.TrimEnd('.')}.");
            return 1;
        }
    }

    /// <summary>Says which setting is wrong, before anything is touched; remoting would only say so from deep inside.</summary>
    /// <exception cref="IOException">Another process has the address.</exception>
    private static void EnsureFree(string setting, IPAddress address, int port)
    {
        using var listener = new TcpListener(address, port);
        try
        {
            listener.Start();
        }
        catch (SocketException taken)
        {
            var remedy = taken.SocketErrorCode == SocketError.AddressAlreadyInUse
                ? "another daemon has it, or another program: stop that, or choose another port (0 takes a free one)"
                : "choose another address or port (0 takes a free one)";
            throw new IOException($"{setting}: {new IPEndPoint(address, port)} cannot be listened on ({taken.Message}); {remedy}", taken);
        }
    }

    private static WebApplication Build(FabricSettings settings)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss.fff ";
        });
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning);

        // A daemon that cannot start says so in one sentence, below.
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting", LogLevel.Critical);
        builder.WebHost.UseUrls(settings.Api.Url);
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = ApiJson.MaxRequestBytes;
            if (kestrel.ApplicationServices.GetRequiredService<CredentialsOfNode>().Tls is { } credentials)
                kestrel.ConfigureHttpsDefaults(https => credentials.Secure(https, isLocal: new Uri(settings.Api.Url).IsLoopback));
        });
        builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromSeconds(15));
        builder.Services.Configure<JsonOptions>(json =>
        {
            // Of a request; what is misspelt must not be taken for what is left out.
            ApiJson.Configure(json.SerializerOptions).UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        });
        builder.Services.Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true);
        builder.Services.AddOpenApi();

        builder.Services
            .AddSingleton(settings)
            .AddSingleton(TimeProvider.System)
            .AddSingleton(services => new CredentialsOfNode(
                NodeCredentials.Load(settings.Tls, services.GetRequiredService<ILoggerFactory>().CreateLogger("Tls"))))
            .AddSingleton(new JournalOfNode(settings is { IsControl: true, Journal.IsSqlite: true } ? SqliteJournal.Open(settings.Node.DataDirectory) : null))
            .AddSingleton(new WireSetup(WireContract.From(typeof(IWireMessage).Assembly)))
            .AddSingleton(services => new HostOfNode(settings.IsHost
                ? HostSystem.Start(
                    settings, services.GetRequiredService<ILoggerFactory>(), services.GetRequiredService<TimeProvider>(),
                    services.GetRequiredService<CredentialsOfNode>().Tls)
                : null))
            .AddSingleton<ApiAddress>()
            .AddSingleton<FabricPresence>()
            .AddSingleton<JournalProbe>()
            .AddSingleton<FabricQueries>()
            .AddHostedService<ClusterNode>();

        builder.Services.AddTelemetry(settings);
        var app = builder.Build();
        app.UseFabricFailures();
        app.UseRouting();
        app.UsePlans();
        app.MapOpenApi();
        app.MapFabricApi();
        return app;
    }

    private static async Task ServeAsync(WebApplication app, FabricSettings settings, bool untilStdinCloses, CancellationToken cancellation)
    {
        // Devices first: a host that cannot open its own is of no use to anybody.
        var host = app.Services.GetRequiredService<HostOfNode>();
        await RehearseAsync(app.Services);
        await app.StartAsync(cancellation);
        var url = app.Urls.First();
        app.Services.GetRequiredService<ApiAddress>().Listening(url);
        var lifetime = app.Services.GetRequiredService<IHostApplicationLifetime>();
        if (untilStdinCloses)
            _ = StopWhenStdinClosesAsync(lifetime);

        var bound = await Task.WhenAny(app.Services.GetRequiredService<FabricPresence>().Bound.Task, lifetime.ApplicationStopping.AsTask());
        var endpoints = Path.Combine(settings.Node.DataDirectory, "endpoints.json");
        if (bound is Task<Membership> { Result: var membership })
        {
            await WriteAsync(endpoints, new EndpointsDocument(
                settings.Node.Name,
                Environment.ProcessId,
                $"{membership.Address.Host}:{membership.Address.Port}",
                url,
                host.System?.Listener.EndPoint.ToString()));
        }

        await app.WaitForShutdownAsync(cancellation);
        File.Delete(endpoints);
    }

    private static async Task RehearseAsync(IServiceProvider services)
    {
        var loggers = services.GetRequiredService<ILoggerFactory>();
        if (await Rehearsal.RunAsync(loggers, services.GetRequiredService<TimeProvider>()) is { } why)
            loggers.CreateLogger("Rehearsal").LogWarning("The rehearsal of a migration failed, and a first one may stop its workload for longer: {Why}", why);
    }

    /// <summary>Whole or not at all: a reader never sees half a document.</summary>
    private static async Task WriteAsync(string path, EndpointsDocument document)
    {
        var written = path + ".new";
        await File.WriteAllTextAsync(written, JsonSerializer.Serialize(document, ApiJson.Options));
        File.Move(written, path, overwrite: true);
    }

    private static async Task StopWhenStdinClosesAsync(IHostApplicationLifetime lifetime)
    {
        using var stdin = Console.OpenStandardInput();
        var buffer = new byte[256];
        while (await stdin.ReadAsync(buffer) > 0)
        {
            // What comes is of no interest, only that it ends.
        }

        lifetime.StopApplication();
    }

    private static Task AsTask(this CancellationToken token)
    {
        var completion = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        token.Register(completion.SetResult);
        return completion.Task;
    }
}
