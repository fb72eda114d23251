using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Akka.Remote.Transport.DotNetty;
using Fabric.Migration.DataPlane;
using Fabric.Node.Configuration;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Security;

/// <summary>
/// What this daemon shows to its peers, and whom it lets in: both sides of every connection have a certificate of the fabric's authority. A
/// file that has changed counts from the next connection of the data plane and the API on; the cluster's has it from the next membership on.
/// Files that have become unusable are told of, and what they were before stays.
/// </summary>
internal sealed class NodeCredentials
{
    private const SslProtocols Protocols = SslProtocols.Tls12 | SslProtocols.Tls13;

    private readonly Lock _gate = new();
    private readonly TlsSettings _files;
    private readonly ILogger _logger;
    private Loaded _current;

    private NodeCredentials(TlsSettings files, ILogger logger, Loaded loaded) => (_files, _logger, _current) = (files, logger, loaded);

    /// <summary>Null where no TLS is set.</summary>
    /// <exception cref="SettingsException">A file is not what it has to be.</exception>
    public static NodeCredentials? Load(TlsSettings files, ILogger logger)
    {
        if (!files.IsSet)
            return null;
        try
        {
            return new NodeCredentials(files, logger, Loaded.From(files));
        }
        catch (PemException wrong)
        {
            throw new SettingsException($"tls: {wrong.Message}.", wrong);
        }
    }

    /// <summary>As <see cref="Load"/>, for settings that are only looked at.</summary>
    public static void Check(TlsSettings files) => _ = Load(files, NullLogger.Instance);

    public X509Certificate2 Certificate => Current().Certificate;

    /// <summary>Both directions of the data plane.</summary>
    public DataPlaneOptions Secure(DataPlaneOptions options) => options with { ServerTls = Server(), ClientTls = Client() };

    /// <summary>The API: a client that is not of this machine needs a certificate, too.</summary>
    public void Secure(HttpsConnectionAdapterOptions https, bool isLocal)
    {
        https.SslProtocols = Protocols;
        https.ServerCertificateSelector = (_, _) => Certificate;
        https.ClientCertificateMode = isLocal ? ClientCertificateMode.NoCertificate : ClientCertificateMode.RequireCertificate;
        https.CheckCertificateRevocation = false;
        https.ClientCertificateValidation = (certificate, chain, _) => LetsIn(certificate, chain, "a client of the API");
    }

    /// <summary>As it is now: remoting keeps it for a membership. Who is let in is decided by the files as they are then.</summary>
    public DotNettySslSetup Remoting() => new(
        Certificate,
        suppressValidation: false,
        requireMutualAuthentication: true,
        (certificate, chain, peer, _, _) => LetsIn(certificate, chain, $"{peer}"));

    /// <summary>Whether the certificate is of the fabric's authority; if not, the log says why.</summary>
    public bool LetsIn(X509Certificate? certificate, X509Chain? chain, string peer)
    {
        if (Current().Authority.Refusal(certificate, chain) is not { } refusal)
            return true;
        _logger.LogWarning("Not connected with {Peer}: its certificate {Refusal}", peer, refusal);
        return false;
    }

    private SslServerAuthenticationOptions Server() => new()
    {
        EnabledSslProtocols = Protocols,
        ServerCertificateSelectionCallback = (_, _) => Certificate,
        ClientCertificateRequired = true,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        RemoteCertificateValidationCallback = (_, certificate, chain, _) => LetsIn(certificate, chain, "a source of a migration"),
    };

    private SslClientAuthenticationOptions Client() => new()
    {
        EnabledSslProtocols = Protocols,
        TargetHost = "",
        LocalCertificateSelectionCallback = (_, _, _, _, _) => Certificate,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        RemoteCertificateValidationCallback = (_, certificate, chain, _) => LetsIn(certificate, chain, "the target of a migration"),
    };

    private Loaded Current()
    {
        lock (_gate)
        {
            var stamp = Loaded.StampOf(_files);
            if (stamp == _current.Stamp)
                return _current;
            try
            {
                _current = Loaded.From(_files);
                _logger.LogInformation("The files of tls have changed, and count from the next connection on: {Subject}", _current.Certificate.Subject);
            }
            catch (PemException wrong)
            {
                _logger.LogError("The files of tls have changed and cannot be used, so what they were before stays: {Reason}", wrong.Message);
                _current = _current with { Stamp = stamp };
            }

            return _current;
        }
    }

    /// <param name="Stamp">Of the files as they were read.</param>
    private sealed record Loaded(X509Certificate2 Certificate, PrivateCa Authority, string Stamp)
    {
        public static Loaded From(TlsSettings files)
        {
            var stamp = StampOf(files);
            return new Loaded(PemFiles.Certificate(files.Certificate, files.Key), PemFiles.Authority(files.Ca), stamp);
        }

        public static string StampOf(TlsSettings files) => string.Join(
            ' ', new[] { files.Certificate, files.Key, files.Ca }.Select(static file => $"{File.GetLastWriteTimeUtc(file).Ticks}"));
    }
}
