using System.Net.Security;
using System.Runtime.Versioning;
using Fabric.Migration.DataPlane;
using Fabric.Node.Configuration;
using Fabric.Node.Security;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Security;

public sealed class NodeCredentialsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly TestAuthority authority;

    public NodeCredentialsTests() => authority = new TestAuthority(folder.Path);

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        authority.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void Without_files_there_are_no_credentials() => Assert.Null(NodeCredentials.Load(new TlsSettings(), NullLogger.Instance));

    [Fact]
    [UnsupportedOSPlatform("windows")]
    public void A_key_that_everybody_may_read_is_refused()
    {
        var files = Files(authority, "node");
        File.SetUnixFileMode(files.Key, UnixFileMode.UserRead | UnixFileMode.OtherRead);

        Assert.Contains($"the key {files.Key} may be read or written by everybody", WhyNot(files));
    }

    [Fact]
    public void A_file_that_is_not_there_is_named()
    {
        var files = Files(authority, "node") with { Certificate = "/nowhere/node.pem" };

        Assert.Contains("the certificate /nowhere/node.pem cannot be read", WhyNot(files));
    }

    [Fact]
    public void A_key_of_another_certificate_is_refused()
    {
        var files = Files(authority, "node") with { Key = authority.Sign("other").Key };

        Assert.Contains("are no certificate and its key in PEM", WhyNot(files));
    }

    [Fact]
    public void An_authority_without_a_certificate_is_refused()
    {
        var files = Files(authority, "node");

        Assert.Contains("has no certificate of an authority in PEM", WhyNot(files with { Ca = files.Key }));
    }

    [Fact]
    public async Task Members_of_one_authority_connect()
    {
        await using var target = Listen(Files(authority, "target"));
        var token = DataPlaneToken.New();
        await using var expected = target.Expect("m-1", token);

        await using var writer = await MigrationWriter.ConnectAsync(target.EndPoint, "m-1", 0, token, Options(Files(authority, "source")), Ct);
    }

    [Fact]
    public async Task A_source_of_another_authority_is_not_let_in()
    {
        using var others = new TestAuthority(folder.Path, "other-ca");
        await using var target = Listen(Files(authority, "target"));

        // It trusts the target, but the target does not trust it.
        await AssertNotLetInAsync(target, Files(others, "source") with { Ca = authority.Ca });
    }

    [Fact]
    public async Task A_target_of_another_authority_is_not_trusted()
    {
        using var others = new TestAuthority(folder.Path, "other-ca");
        await using var target = Listen(Files(others, "target") with { Ca = authority.Ca });

        await AssertNotLetInAsync(target, Files(authority, "source"));
    }

    [Fact]
    public async Task A_source_without_a_certificate_is_not_let_in()
    {
        await using var target = Listen(Files(authority, "target"));
        var options = new DataPlaneOptions
        {
            ClientTls = new SslClientAuthenticationOptions { TargetHost = "", RemoteCertificateValidationCallback = (_, presented, _, _) => presented?.Subject == "CN=target" },
        };

        await Assert.ThrowsAsync<DataPlaneException>(() => MigrationWriter.ConnectAsync(target.EndPoint, "m-1", 0, DataPlaneToken.New(), options, Ct));
    }

    [Fact]
    public async Task A_certificate_that_has_expired_is_not_let_in()
    {
        await using var target = Listen(Files(authority, "target"));
        var (certificate, key) = authority.Sign("source", until: DateTimeOffset.UtcNow.AddHours(-1));

        await AssertNotLetInAsync(target, new TlsSettings { Certificate = certificate, Key = key, Ca = authority.Ca });
    }

    [Fact]
    public async Task A_source_in_the_clear_learns_nothing_of_a_target_with_TLS()
    {
        await using var target = Listen(Files(authority, "target"));

        var e = await Assert.ThrowsAsync<DataPlaneException>(
            () => MigrationWriter.ConnectAsync(target.EndPoint, "m-1", 0, DataPlaneToken.New(), new DataPlaneOptions(), Ct));

        Assert.DoesNotContain("refused", e.Message);
    }

    [Fact]
    public void A_file_that_has_changed_counts_from_the_next_connection_on()
    {
        var files = Files(authority, "node");
        var credentials = NodeCredentials.Load(files, NullLogger.Instance)!;
        var next = authority.Sign("next");

        Replace(next, files);

        Assert.Equal("CN=next", credentials.Certificate.Subject);
    }

    [Fact]
    public void A_file_that_has_become_unusable_leaves_what_was()
    {
        var files = Files(authority, "node");
        var credentials = NodeCredentials.Load(files, NullLogger.Instance)!;

        File.WriteAllText(files.Certificate, "nonsense");
        File.SetLastWriteTimeUtc(files.Certificate, DateTime.UtcNow.AddMinutes(1));

        Assert.Equal("CN=node", credentials.Certificate.Subject);
    }

    private static void Replace((string Certificate, string Key) by, TlsSettings files)
    {
        File.Copy(by.Key, files.Key, overwrite: true);
        File.Copy(by.Certificate, files.Certificate, overwrite: true);
        File.SetLastWriteTimeUtc(files.Certificate, DateTime.UtcNow.AddMinutes(1));
    }

    private static TlsSettings Files(TestAuthority authority, string member)
    {
        var (certificate, key) = authority.Sign(member);
        return new TlsSettings { Certificate = certificate, Key = key, Ca = authority.Ca };
    }

    private static string WhyNot(TlsSettings files) =>
        Assert.Throws<SettingsException>(() => NodeCredentials.Load(files, NullLogger.Instance)).Message;

    private static DataPlaneOptions Options(TlsSettings files) => NodeCredentials.Load(files, NullLogger.Instance)!.Secure(new DataPlaneOptions());

    private static DataPlaneListener Listen(TlsSettings files) => new(NullLogger.Instance, Options(files));

    /// <summary>TLS 1.3 lets a client begin to speak before its certificate is judged, so the end may come at the hello's answer.</summary>
    private static async Task AssertNotLetInAsync(DataPlaneListener target, TlsSettings source)
    {
        var token = DataPlaneToken.New();
        await using var expected = target.Expect("m-1", token);

        var e = await Assert.ThrowsAsync<DataPlaneException>(() => MigrationWriter.ConnectAsync(target.EndPoint, "m-1", 0, token, Options(source), Ct));

        Assert.DoesNotContain("The target refused", e.Message);
    }
}
