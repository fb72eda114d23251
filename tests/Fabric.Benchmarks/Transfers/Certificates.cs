using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Benchmarks.Transfers;

/// <summary>One certificate for both ends of both contenders, so that they negotiate the same.</summary>
internal sealed class Certificates : IDisposable
{
    private readonly X509Certificate2 _certificate;

    public Certificates()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var now = DateTimeOffset.UtcNow;
        _certificate = new CertificateRequest("CN=benchmark", key, HashAlgorithmName.SHA256).CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
    }

    public SslServerAuthenticationOptions Server => new() { ServerCertificate = _certificate };

    public SslClientAuthenticationOptions Client => new()
    {
        TargetHost = "benchmark",
        RemoteCertificateValidationCallback = (_, presented, _, _) => presented?.GetCertHashString() == _certificate.GetCertHashString(),
    };

    public async Task<Stream> AcceptAsync(Stream plain)
    {
        var secured = new SslStream(plain);
        await secured.AuthenticateAsServerAsync(Server);
        return secured;
    }

    public async Task<Stream> ConnectAsync(Stream plain)
    {
        var secured = new SslStream(plain);
        await secured.AuthenticateAsClientAsync(Client);
        return secured;
    }

    public Stream Accept(Stream plain)
    {
        var secured = new SslStream(plain);
        secured.AuthenticateAsServer(Server);
        return secured;
    }

    public Stream Connect(Stream plain)
    {
        var secured = new SslStream(plain);
        secured.AuthenticateAsClient(Client);
        return secured;
    }

    public void Dispose() => _certificate.Dispose();
}
