using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Text;
using Fabric.Cluster.Tests.Processes;
using Fabric.Node.Tests.Security;

namespace Fabric.Cluster.Tests;

/// <summary>A fabric whose members know each other by certificates.</summary>
public sealed class SecureFabric : IAsyncLifetime
{
    private readonly string folder = Directory.CreateTempSubdirectory("fabric-tls-").FullName;

    internal TestFabric Fabric { get; private set; } = null!;

    internal TestAuthority Authority { get; private set; } = null!;

    internal TestAuthority OtherAuthority { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Authority = new TestAuthority(folder);
        OtherAuthority = new TestAuthority(folder, "other-ca");
        Fabric = await TestFabric.StartAsync(hosts: 2, tls: name => Files(Authority, name));
    }

    public async ValueTask DisposeAsync()
    {
        if (Fabric is not null)
            await Fabric.DisposeAsync();
        Authority.Dispose();
        OtherAuthority.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    internal static TlsFiles Files(TestAuthority authority, string name)
    {
        var (certificate, key) = authority.Sign(name);
        return new TlsFiles(certificate, key, authority.Ca);
    }
}

public sealed class TlsTests(SecureFabric secure) : IClassFixture<SecureFabric>
{
    private TestFabric Fabric => secure.Fabric;

    [Fact]
    public async Task A_claim_moves_between_hosts_that_know_each_other_by_certificates()
    {
        await Fabric.ClaimRunningAsync("secure", "host-a");
        var watched = await Fabric.RunAsync("migrate", "secure", "--to", "host-b", "--watch");
        var verified = await Fabric.RunAsync("claim", "verify", "secure");
        await Fabric.ReleaseAsync("secure");

        Assert.True(watched.ExitCode == 0, watched.ToString());
        Assert.True(verified.ExitCode == 0, verified.ToString());
    }

    [Fact]
    public async Task A_daemon_of_another_authority_is_not_let_in_and_says_why()
    {
        var settings = new DaemonSettings("stranger", "host", Fabric.PathOf("stranger"), Fabric.Control.Endpoints.Cluster)
        {
            Tls = SecureFabric.Files(secure.OtherAuthority, "stranger"),
        };
        await using var stranger = Daemon.Start(settings);

        await Poll.UntilAsync("the stranger to say why", () => Task.FromResult(stranger.Log), log => log.Contains("is not of this fabric's authority"));

        Assert.DoesNotContain("stranger", (await Fabric.Http.GetAsync("api/v1/hosts")).Body);
    }

    [Fact]
    public async Task A_daemon_of_another_authority_that_trusts_this_one_is_not_let_in_either()
    {
        var (certificate, key) = secure.OtherAuthority.Sign("trusting");
        var settings = new DaemonSettings("trusting", "host", Fabric.PathOf("trusting"), Fabric.Control.Endpoints.Cluster)
        {
            Tls = new TlsFiles(certificate, key, secure.Authority.Ca),
        };
        await using var trusting = Daemon.Start(settings);

        await Poll.UntilAsync(
            "the control node to say why", () => Task.FromResult(Fabric.Control.Log), log => log.Contains("(CN=trusting) is not of this fabric's authority"));

        Assert.DoesNotContain("trusting", (await Fabric.Http.GetAsync("api/v1/hosts")).Body);
    }

    [Fact]
    public async Task A_daemon_in_the_clear_is_not_let_in()
    {
        await using var plain = Daemon.Start(new DaemonSettings("plain", "host", Fabric.PathOf("plain"), Fabric.Control.Endpoints.Cluster));

        await Poll.UntilAsync("the plain daemon to find no fabric", () => Task.FromResult(plain.Log), log => log.Contains("Couldn't join seed nodes"));

        Assert.DoesNotContain("plain", (await Fabric.Http.GetAsync("api/v1/hosts")).Body);
    }

    [Theory]
    [InlineData("FABRICDP")]
    [InlineData("GET / HTTP/1.1\r\n\r\n")]
    public async Task A_peer_in_the_clear_learns_nothing_at_the_data_plane(string greeting)
    {
        var ct = TestContext.Current.CancellationToken;
        using var client = new TcpClient();
        await client.ConnectAsync(IPEndPoint.Parse(Fabric["host-a"].Endpoints.DataPlane!), ct);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(greeting.PadRight(100)), ct);

        var answer = new MemoryStream();
        try
        {
            await client.GetStream().CopyToAsync(answer, ct);
        }
        catch (IOException)
        {
            // A reset is an end, too.
        }

        // At most the alert by which TLS ends.
        Assert.InRange(answer.Length, 0, 7);
    }

    [Fact]
    public async Task An_API_beyond_loopback_answers_who_has_a_certificate_and_nobody_else()
    {
        if (Beyond() is not { } address)
        {
            Assert.Skip("This machine has no IPv4 address but loopback.");
            return;
        }

        var files = SecureFabric.Files(secure.Authority, "remote");
        var settings = new DaemonSettings("remote", "host", Fabric.PathOf("remote"), Fabric.Control.Endpoints.Cluster)
        {
            Api = $"https://{address}:0", Tls = files, Accelerators = 0,
        };
        await using var remote = Daemon.Start(settings);
        await remote.ListeningAsync();
        string[] shown = ["--cert", files.Certificate, "--key", files.Key];

        await Poll.UntilAsync(
            "the remote API to answer",
            () => TestFabric.RunAtAsync(remote, ["host", "list", "--cacert", files.Ca, .. shown]),
            ending => ending.ExitCode == 0);
        var nobody = await TestFabric.RunAtAsync(remote, "host", "list", "--cacert", files.Ca);
        var doubting = await TestFabric.RunAtAsync(remote, ["host", "list", "--cacert", secure.OtherAuthority.Ca, .. shown]);

        Assert.Equal(1, nobody.ExitCode);
        Assert.Equal(1, doubting.ExitCode);
        Assert.Contains("is not of this fabric's authority", doubting.Sentence);
    }

    private static IPAddress? Beyond() => NetworkInterface.GetAllNetworkInterfaces()
        .Where(static network => network.OperationalStatus == OperationalStatus.Up)
        .SelectMany(static network => network.GetIPProperties().UnicastAddresses)
        .Select(static unicast => unicast.Address)
        .FirstOrDefault(static address => address.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(address));
}
