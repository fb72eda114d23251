using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Node.Tests.Security;

/// <summary>An authority of a fabric, and what it has signed, as PEM files in a folder.</summary>
internal sealed class TestAuthority : IDisposable
{
    private readonly ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly X509Certificate2 root;
    private readonly string folder;
    private readonly string name;

    public TestAuthority(string folder, string name = "fabric-ca")
    {
        (this.folder, this.name) = (folder, name);
        Directory.CreateDirectory(folder);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        root = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        File.WriteAllText(PathOf("pem"), root.ExportCertificatePem());
    }

    public string Ca => PathOf("pem");

    /// <summary>A member's certificate and its key, good for both ends of a connection.</summary>
    public (string Certificate, string Key) Sign(string member, DateTimeOffset? until = null)
    {
        using var own = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={member}", own, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(
            root, DateTimeOffset.UtcNow.AddHours(-2), until ?? DateTimeOffset.UtcNow.AddHours(12), RandomNumberGenerator.GetBytes(8));
        var files = (Certificate: Path.Combine(folder, $"{name}-{member}.pem"), Key: Path.Combine(folder, $"{name}-{member}.key"));
        File.WriteAllText(files.Certificate, certificate.ExportCertificatePem());
        File.WriteAllText(files.Key, own.ExportPkcs8PrivateKeyPem());
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(files.Key, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return files;
    }

    public void Dispose()
    {
        root.Dispose();
        key.Dispose();
    }

    private string PathOf(string extension) => Path.Combine(folder, $"{name}.{extension}");
}
