using System.Reflection;
using Fabric.Migration.Wire;
using Fabric.Node.Configuration;
using Fabric.Node.Security;

namespace Fabric.Node.Hosting;

/// <summary>What this daemon is part of at the moment.</summary>
internal sealed class FabricPresence
{
    private volatile Membership? membership;

    /// <summary>Null while the node is between two memberships.</summary>
    public Membership? Current
    {
        get => membership;
        set => membership = value;
    }

    /// <summary>The daemon ends because it must not take part in this fabric.</summary>
    public bool IsRefused { get; set; }

    /// <summary>Completes when the first membership has its address.</summary>
    public TaskCompletionSource<Membership> Bound { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>Keeps the daemon a member: joins, waits for the membership to end, joins anew. Devices go on meanwhile.</summary>
internal sealed class ClusterNode(
    FabricSettings settings, CredentialsOfNode credentials, FabricPresence presence, JournalOfNode journal, HostOfNode host, WireSetup wire, ApiAddress api,
    ILoggerFactory loggers, TimeProvider time, IHostApplicationLifetime lifetime, ILogger<ClusterNode> log) : BackgroundService
{
    private static readonly TimeSpan RejoinPause = TimeSpan.FromMilliseconds(500);

    private readonly MetControls met = new();

    public static string Version { get; } =
        typeof(ClusterNode).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "unknown";

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // A port that the system chose is kept: others look for this node where it was.
        var lasting = settings;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                var url = await api.WhenListening.WaitAsync(stoppingToken);
                var found = await SeedDiscovery.FindAsync(lasting, time, log, stoppingToken);
                await using var membership = await Membership.BeginAsync(found, journal.Sqlite?.ConnectionString, wire, loggers, credentials.Tls);
                presence.Bound.TrySetResult(membership);
                presence.Current = membership;
                lasting = settings with { Cluster = settings.Cluster with { Port = membership.Address.Port ?? settings.Cluster.Port } };
                await membership.JoinAsync(found, met, host.System, url, Version, time, stoppingToken);
                await membership.Ended.WaitAsync(stoppingToken);
                log.LogWarning("This node is out of the fabric; its devices go on, and it joins anew");
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception refused) when (refused is RefusedException or SettingsException)
            {
                log.LogCritical("{Sentence}", refused.Message);
                await Console.Error.WriteLineAsync($"fabricd: {refused.Message}");
                presence.IsRefused = true;
                lifetime.StopApplication();
                return;
            }
            finally
            {
                presence.Current = null;
            }

            await Task.Delay(RejoinPause, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}

/// <summary>By what this node is known to others, if by anything.</summary>
internal sealed record CredentialsOfNode(NodeCredentials? Tls);

/// <summary>The journal this node writes, if it is embedded.</summary>
internal sealed record JournalOfNode(SqliteJournal? Sqlite) : IDisposable
{
    public void Dispose() => Sqlite?.Dispose();
}

/// <summary>The devices of this node, if it is a host.</summary>
internal sealed record HostOfNode(HostSystem? System) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => System?.DisposeAsync() ?? ValueTask.CompletedTask;
}

/// <summary>The address the API took, once it listens.</summary>
internal sealed class ApiAddress
{
    private readonly TaskCompletionSource<string> listening = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<string> WhenListening => listening.Task;

    public void Listening(string url) => listening.TrySetResult(url);
}
