using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Mdev;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Migration.Fleet.Moves;
using Fabric.Node.Hosting;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.VfioUser.Client;
using Fabric.VfioUser.Server;
using Npgsql;

namespace Fabric.Node.Configuration;

/// <summary>The configuration is wrong; the message names the setting, the cause and the remedy.</summary>
internal sealed class SettingsException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Reads a daemon's settings: a JSON file (comments allowed), then <c>FABRIC__</c> environment variables, then <c>--section:key value</c>
/// arguments, the later winning. A key that means nothing is an error, not a silence.
/// </summary>
internal static partial class SettingsLoader
{
    public static FabricSettings Load(string? file, string[] overrides)
    {
        CheckArguments(overrides);
        var given = Read(file, overrides);
        SettingsShape.Check(given, typeof(FabricSettings));
        var settings = given.Get<FabricSettings>() ?? new FabricSettings();
        if (settings.Node.Name.Length == 0)
            settings = settings with { Node = settings.Node with { Name = Environment.MachineName.ToLowerInvariant() } };
        Check(settings);
        return settings;
    }

    /// <summary>What the command-line provider would pass over in silence, or fail on without a word that helps.</summary>
    private static void CheckArguments(string[] arguments)
    {
        for (var i = 0; i < arguments.Length; i++)
        {
            var argument = arguments[i];
            Require(argument.StartsWith("--", StringComparison.Ordinal), $"'{argument}' is not a setting; write --section:key=value.");
            if (!argument.Contains('=', StringComparison.Ordinal))
                Require(++i < arguments.Length, $"{argument} has no value; write --section:key=value.");
        }
    }

    private static IConfigurationRoot Read(string? file, string[] overrides)
    {
        var builder = new ConfigurationBuilder();
        if (file is null)
            return builder.AddEnvironmentVariables("FABRIC__").AddCommandLine(overrides).Build();
        if (!File.Exists(file))
            throw new SettingsException($"There is no configuration file {file}; give --config the path of one, cluster-config/ has examples.");
        try
        {
            using var stream = File.OpenRead(file);
            return builder.AddJsonStream(stream).AddEnvironmentVariables("FABRIC__").AddCommandLine(overrides).Build();
        }
        catch (Exception malformed) when (malformed is JsonException or FormatException)
        {
            throw new SettingsException($"The configuration file {file} could not be read as JSON{WhereAndWhy(malformed)}; correct it, cluster-config/ has examples.", malformed);
        }
    }

    /// <summary>The parser's own words, with the line as an editor counts it.</summary>
    private static string WhereAndWhy(Exception malformed)
    {
        var why = LinePosition().Replace(malformed.Message, "").TrimEnd('.', ' ');
        return malformed is JsonException { LineNumber: { } line } ? $", line {line + 1}: {why}" : $": {why}";
    }

    private static void Check(FabricSettings settings)
    {
        Require(Name().IsMatch(settings.Node.Name), $"node.name '{settings.Node.Name}' must be lowercase letters, digits and dashes, at most 63.");
        Require(settings.Node.Roles.Length > 0, "node.roles is empty; give 'control', 'host' or both.");
        foreach (var role in settings.Node.Roles)
            Require(role is "control" or "host", $"node.roles has '{role}'; there are 'control' and 'host'.");

        foreach (var label in settings.Node.Labels)
            Require(PlacementWords.IsLabel(label), $"node.labels has '{label}'; write key=value, each of letters, digits, dots, dashes and underscores, at most 63.");
        Require(settings.Node.Labels.DistinctBy(static label => label.Split('=')[0]).Count() == settings.Node.Labels.Length, "node.labels has a key twice; give each one value.");
        Require(settings.Node.DataDirectory.Length > 0, "node.dataDirectory is empty; name a folder.");
        CheckTls(settings.Tls);
        var safe = settings.Tls.IsSet || settings.Cluster.Insecure;
        CheckAddress("cluster.address", settings.Cluster.Address, safe);
        CheckAddress("dataPlane.address", settings.DataPlane.Address, safe);
        CheckPort("cluster.port", settings.Cluster.Port);
        CheckPort("dataPlane.port", settings.DataPlane.Port);
        foreach (var seed in settings.Cluster.Seeds)
        {
            // Compared with how it is printed: "1:2" would be read as 0.0.0.1:2.
            Require(IPEndPoint.TryParse(seed, out var point) && point.Port != 0 && point.ToString() == seed, $"cluster.seeds has '{seed}'; write ip:port.");
            Require(safe || IPAddress.IsLoopback(point!.Address), $"cluster.seeds has '{seed}', which is not loopback; {NotEncrypted}");
        }

        CheckDiscovery(settings);
        Require(
            settings.IsControl || settings.Cluster.Seeds.Length > 0 || settings.Cluster.Discovery.IsSet,
            "cluster.seeds is empty; a host needs the address of at least one control node, or cluster.discovery to find it by.");

        CheckApi(settings);

        CheckTelemetry(settings.Telemetry.Otlp);
        CheckDevices(settings.Devices);
        CheckFleet(settings.Fleet);
        CheckJournal(settings.Journal.Connection);

        CheckVfioUser(settings.Hardware.VfioUser);
        CheckSockets("serving.sockets", settings.Serving.Sockets);
        foreach (var function in settings.Hardware.Linux.Functions)
        {
            Require(
                function == "*" || PciAddress.TryParse(function, out _),
                $"hardware.linux.functions has '{function}'; write addresses such as 0000:3b:00.2, or * for all that vfio-pci has.");
        }

        foreach (var driver in settings.Hardware.WithoutDrivers)
            Require(HostDrivers.Has(driver), $"hardware.withoutDrivers has '{driver}'; there are {string.Join(", ", HostDrivers.Names)}.");
        var emulated = settings.Hardware.Emulated;
        Require(emulated.Accelerators is >= 0 and <= 16, "hardware.emulated.accelerators must be 0 to 16.");
        Require(emulated.FunctionsPerAccelerator is >= 0 and <= 7, "hardware.emulated.functionsPerAccelerator must be 0 to 7.");
        Require(
            emulated.StateBytes > 0 && emulated.StateBytes % AcceleratorState.Granule == 0 && emulated.StateBytes <= 32L << 30,
            $"hardware.emulated.stateSize '{emulated.StateSize}' must be a multiple of {AcceleratorState.Granule / 1024}KiB, at most 32GiB, such as 64MiB.");
        foreach (var card in emulated.Cards)
            CheckCard(card);
        foreach (var parent in emulated.MdevParents)
        {
            Require(
                EmulatedMdevParents.Names.Contains(parent),
                $"hardware.emulated.mdevParents has '{parent}'; there are {string.Join(", ", EmulatedMdevParents.Names)}.");
        }

        Require(
            emulated.MdevParents.Distinct().Count() == emulated.MdevParents.Length, "hardware.emulated.mdevParents has a parent twice; name each once.");
    }

    private static void CheckVfioUser(SocketSettings[] devices)
    {
        const string setting = "hardware.vfioUser";
        foreach (var device in devices)
        {
            Require(
                PciAddress.TryParse(device.Address, out var address) && address.Domain == VfioUserBus.Domain,
                $"{setting} has address '{device.Address}'; write one of domain {VfioUserBus.Domain:x4}, such as {VfioUserBus.Domain:x4}:00:01.0.");
        }

        CheckSockets(setting, devices);
    }

    /// <summary>Each a device, and a socket of its own: a server has one device, and takes one client at a time.</summary>
    private static void CheckSockets(string setting, SocketSettings[] devices)
    {
        foreach (var device in devices)
        {
            Require(
                PciAddress.TryParse(device.Address, out var address) && address.ToString() == device.Address,
                $"{setting} has address '{device.Address}'; write domain:bus:device.function, such as 0000:3b:00.2.");
            Require(
                device.Socket.Length > 0 && VfioUserServer.IsPath(Path.GetFullPath(device.Socket)),
                $"{setting} has socket '{device.Socket}'; write the path of a UNIX socket, at most 107 bytes of it.");
        }

        Require(devices.DistinctBy(static device => device.Address).Count() == devices.Length, $"{setting} has an address twice; give each its own.");
        Require(
            devices.DistinctBy(static device => Path.GetFullPath(device.Socket)).Count() == devices.Length,
            $"{setting} has a socket twice; give each its own.");
    }

    private static void CheckCard(CardSettings card)
    {
        var model = EmulatedModels.All.FirstOrDefault(known => known.Name == card.Model);
        Require(
            model is not null,
            $"hardware.emulated.cards has model '{card.Model}'; there are {string.Join(", ", EmulatedModels.All.Select(static known => known.Name))}.");
        Require(card.Count is >= 1 and <= 100_000, $"hardware.emulated.cards has {card.Count} cards of model {card.Model}; write 1 to 100000.");
        Require(
            card.VirtualFunctions >= 0 && card.VirtualFunctions <= model!.TotalVirtualFunctions,
            $"hardware.emulated.cards has {card.VirtualFunctions} virtualFunctions for model {card.Model}; it has at most {model!.TotalVirtualFunctions}.");
    }

    private static void CheckDevices(DevicesSettings devices)
    {
        CheckDuration("devices.callDeadline", devices.CallDeadline, TimeSpan.FromMinutes(10));
        CheckDuration("devices.slowCallDeadline", devices.SlowCallDeadline, TimeSpan.FromMinutes(10));
        CheckDuration("devices.turnDeadline", devices.TurnDeadline, TimeSpan.FromMinutes(10));
        CheckDuration("devices.voteDeadline", devices.VoteDeadline, TimeSpan.FromMinutes(10));
        CheckDuration("devices.budgetWindow", devices.BudgetWindow, TimeSpan.FromDays(7));
        CheckDuration("devices.errorInterval", devices.ErrorInterval, TimeSpan.FromMinutes(1));
        CheckDuration("devices.retryContention.delay", devices.RetryContention.Delay, TimeSpan.FromSeconds(10));
        Require(devices.RestartBudget is >= 0 and <= 1000, "devices.restartBudget must be 0 to 1000.");
        Require(devices.FreezeBudget is >= 0 and <= 1000, "devices.freezeBudget must be 0 to 1000.");
        Require(devices.ConcurrentProbes is >= 1 and <= 1024, "devices.concurrentProbes must be 1 to 1024.");
        Require(devices.RetryContention.Tries is >= 0 and <= 100, "devices.retryContention.tries must be 0 to 100; 0 is off.");
        Require(devices.RetryContention.Factor is >= 1 and <= 10, "devices.retryContention.factor must be 1 to 10.");
        foreach (var method in devices.ResetOrder)
            Require(ResetMethod.All.Contains(method), $"devices.resetOrder has '{method}'; there are {string.Join(", ", ResetMethod.All)}.");
        Require(devices.ResetOrder.Distinct().Count() == devices.ResetOrder.Length, "devices.resetOrder has a method twice; name each once.");
    }

    private static void CheckFleet(FleetSettings fleet)
    {
        Require(fleet.Migrations is >= 1 and <= 1000, "fleet.migrations must be 1 to 1000.");
        Require(fleet.OutgoingPerHost is >= 1 and <= 1000, "fleet.outgoingPerHost must be 1 to 1000.");
        Require(fleet.Attempts is >= 1 and <= 100, "fleet.attempts must be 1 to 100.");
        Require(fleet.Breaker.SharePercent is >= 1 and <= 100, "fleet.breaker.sharePercent must be 1 to 100; 100 never stops automatic moves.");
        Require(fleet.Breaker.Least is >= 1 and <= 1_000_000, "fleet.breaker.least must be 1 to 1000000.");
        CheckDuration("fleet.breaker.window", fleet.Breaker.Window, TimeSpan.FromDays(1));
    }

    private static void CheckDuration(string setting, string text, TimeSpan most) => Require(
        Duration.TryParse(text, out var duration) && duration > TimeSpan.Zero && duration <= most,
        string.Create(
            CultureInfo.InvariantCulture,
            $"{setting} '{text}' must be a whole number of ms, s, min or h, such as 500ms, above 0 and at most {most.TotalSeconds} s."));

    private const string NotEncrypted = "connections there need tls (certificate, key and ca), or cluster.insecure=true if whoever reaches them may do everything.";

    private static void CheckTls(TlsSettings tls)
    {
        var given = new[] { tls.Certificate, tls.Key, tls.Ca }.Count(static file => file.Length > 0);
        Require(given is 0 or 3, $"tls has {given} of certificate, key and ca; give the three PEM files together, or none of them.");
    }

    /// <summary>Without TLS nothing is bound but loopback, unless that is meant.</summary>
    private static void CheckAddress(string setting, string address, bool safe)
    {
        Require(IPAddress.TryParse(address, out var ip), $"{setting} '{address}' is not an IP address.");
        Require(safe || IPAddress.IsLoopback(ip!), $"{setting} '{address}' is not loopback; {NotEncrypted}");
        Require(
            !ip!.Equals(IPAddress.Any) && !ip.Equals(IPAddress.IPv6Any),
            $"{setting} '{address}' is every address of this machine, and others need one to reach it on; give that.");
    }

    private static void CheckDiscovery(FabricSettings settings)
    {
        var (cluster, discovery) = (settings.Cluster, settings.Cluster.Discovery);
        Require(
            discovery.IsSet == discovery.Configuration.Length > 0,
            "cluster.discovery needs both: service, what the control nodes are called, and configuration, a file that says how they are found.");
        Require(!discovery.IsSet || cluster.Seeds.Length == 0, "cluster.seeds and cluster.discovery are both given; leave one of them out.");
        Require(
            !discovery.IsSet || !settings.IsControl || cluster.Port != 0,
            "cluster.port is 0; a control node that is found by cluster.discovery has the port that is known there.");
    }

    private static void CheckApi(FabricSettings settings)
    {
        Require(
            Uri.TryCreate(settings.Api.Url, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"
            && IPAddress.TryParse(url.Host.Trim('[', ']'), out _) && url is { PathAndQuery: "/", Fragment: "", UserInfo: "" },
            $"api.url '{settings.Api.Url}' must be http://ip:port, or https://ip:port with tls.");
        var isSecure = url!.Scheme == Uri.UriSchemeHttps;
        Require(!isSecure || settings.Tls.IsSet, $"api.url '{settings.Api.Url}' needs tls: certificate, key and ca.");
        Require(
            isSecure || settings.Cluster.Insecure || IPAddress.IsLoopback(IPAddress.Parse(url.Host.Trim('[', ']'))),
            $"api.url '{settings.Api.Url}' is not loopback, and http asks nobody who they are; write https with tls, "
            + "or set cluster.insecure=true if whoever reaches it may do everything.");
    }

    private static void CheckTelemetry(string otlp) => Require(
        otlp.Length == 0 || (Uri.TryCreate(otlp, UriKind.Absolute, out var url) && (url.Scheme is "http" or "https")
            && url is { PathAndQuery: "/", Fragment: "", UserInfo: "", Host.Length: > 0 }),
        "telemetry.otlp must be http://host:port or https://host:port of a collector that takes OTLP over gRPC, or empty for none.");

    private static void CheckPort(string setting, int port) => Require(port is >= 0 and <= 65535, $"{setting} {port} is not a port.");

    private static void Require(bool holds, string sentence)
    {
        if (!holds)
            throw new SettingsException(sentence);
    }

    private static void CheckJournal(string connection)
    {
        if (connection.Length == 0)
            return;
        try
        {
            Require(
                new NpgsqlConnectionStringBuilder(connection).Host is { Length: > 0 },
                "journal.connection names no Host; write a PostgreSQL connection string, \"Host=…;Database=…;Username=…\", or leave it empty for SQLite.");
        }
        catch (Exception malformed) when (malformed is ArgumentException or FormatException or KeyNotFoundException)
        {
            // Not repeated: a password may be in it.
            throw new SettingsException(
                "journal.connection is no PostgreSQL connection string: "
                + $"{malformed.Message.TrimEnd('.')}; write \"Host=…;Database=…;Username=…\", or leave it empty for SQLite.", malformed);
        }
    }

    [GeneratedRegex(@"\s*(Path: \S+ \| )?LineNumber: \d+ \| BytePositionInLine: \d+\.?")]
    private static partial Regex LinePosition();

    [GeneratedRegex(@"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z")]
    private static partial Regex Name();
}
