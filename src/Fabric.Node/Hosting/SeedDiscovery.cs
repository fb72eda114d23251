using System.Net;
using Akka.Actor;
using Akka.Configuration;
using Akka.Discovery;
using Fabric.Node.Configuration;

namespace Fabric.Node.Hosting;

/// <summary>
/// Finds the control nodes by Akka.Discovery, for a daemon that has no list of them. What is found is used as a list of seeds would be, and looked up
/// anew for each membership: in one order, so that the first of them founds the fabric.
/// </summary>
internal static class SeedDiscovery
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    /// <summary>It lives for a lookup, and no longer.</summary>
    private const string Quiet = """
        akka.actor.provider = local
        akka.loglevel = OFF
        akka.stdout-loglevel = OFF
        """;

    /// <summary>The same settings where there is nothing to look up.</summary>
    /// <exception cref="SettingsException">The file cannot be read, or its method is none.</exception>
    /// <exception cref="RefusedException">What was found must not be spoken to without TLS.</exception>
    public static async Task<FabricSettings> FindAsync(FabricSettings settings, TimeProvider time, ILogger log, CancellationToken cancellation)
    {
        var discovery = settings.Cluster.Discovery;
        if (!discovery.IsSet)
            return settings;
        var system = ActorSystem.Create("fabric-discovery", ConfigOf(discovery.Configuration));
        try
        {
            var method = MethodOf(system, discovery.Configuration);
            while (true)
            {
                var seeds = await LookAsync(method, settings, log);
                if (seeds.Length > 0)
                    return settings with { Cluster = settings.Cluster with { Seeds = seeds } };
                await Task.Delay(Pause, time, cancellation);
            }
        }
        finally
        {
            await system.Terminate();
        }
    }

    private static Config ConfigOf(string file)
    {
        try
        {
            var given = ConfigurationFactory.ParseString(File.ReadAllText(file));
            if (!given.HasPath("akka.discovery"))
                throw new SettingsException($"cluster.discovery.configuration: {file} has no akka.discovery; write akka.discovery {{ method = config … }}.");
            return ConfigurationFactory.ParseString(Quiet).WithFallback(given).WithFallback(DiscoveryProvider.DefaultConfiguration());
        }
        catch (Exception unread) when (unread is IOException or UnauthorizedAccessException or ConfigurationException or FormatException)
        {
            throw new SettingsException($"cluster.discovery.configuration: {file} cannot be read as HOCON: {unread.Message}", unread);
        }
    }

    private static ServiceDiscovery MethodOf(ActorSystem system, string file)
    {
        try
        {
            return Discovery.Get(system).Default;
        }
        catch (Exception none) when (none is ArgumentException or TypeLoadException or ConfigurationException)
        {
            throw new SettingsException($"cluster.discovery.configuration: {file} names no method that there is: {none.Message}", none);
        }
    }

    /// <summary><c>ip:port</c> each, in their order; none where none was found, or what is asked does not answer.</summary>
    private static async Task<string[]> LookAsync(ServiceDiscovery method, FabricSettings settings, ILogger log)
    {
        var service = settings.Cluster.Discovery.Service;
        try
        {
            var found = await method.Lookup(new Lookup(service), Deadline);
            var points = new List<IPEndPoint>();
            foreach (var target in found.Addresses)
            {
                foreach (var address in await AddressesOf(target))
                    points.Add(new IPEndPoint(address, target.Port ?? settings.Cluster.Port));
            }

            if (points.Count == 0)
                log.LogWarning("No control node is known as {Service} yet; it is looked up again", service);
            if (!settings.Tls.IsSet && !settings.Cluster.Insecure && points.Find(static point => !IPAddress.IsLoopback(point.Address)) is { } open)
            {
                throw new RefusedException(
                    $"{service} was found at {open}, which is not loopback, and without tls the cluster is not encrypted; set tls, or cluster.insecure=true.");
            }

            return [.. points.Select(static point => point.ToString()).Distinct().Order(StringComparer.Ordinal)];
        }
        catch (Exception failed) when (failed is not RefusedException)
        {
            log.LogWarning(failed, "{Service} could not be looked up; it is tried again", service);
            return [];
        }
    }

    private static async Task<IPAddress[]> AddressesOf(ServiceDiscovery.ResolvedTarget target) =>
        target.Address is { } known ? [known] : IPAddress.TryParse(target.Host, out var written) ? [written] : await Dns.GetHostAddressesAsync(target.Host);
}
