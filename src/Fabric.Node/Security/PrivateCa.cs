using System.Security.Cryptography.X509Certificates;

namespace Fabric.Node.Security;

/// <summary>
/// The fabric's own certificate authority: who has a certificate of it is a member, whatever address it comes from or name it bears. The
/// machine's store of authorities counts for nothing here, and nothing is looked up on the network. Compiled into the command line too.
/// </summary>
internal sealed class PrivateCa(X509Certificate2Collection roots)
{
    /// <summary>Why a certificate that a peer presented is not let in, as the end of "the peer's certificate …"; null if it is.</summary>
    /// <param name="presented">Null where the peer has none.</param>
    /// <param name="sent">What else the peer sent along: authorities between the root and its certificate.</param>
    public string? Refusal(X509Certificate? presented, X509Chain? sent)
    {
        if (presented is null)
            return "is missing";
        using var certificate = X509CertificateLoader.LoadCertificate(presented.GetRawCertData());
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(roots);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        foreach (var element in sent?.ChainElements ?? Enumerable.Empty<X509ChainElement>())
            chain.ChainPolicy.ExtraStore.Add(element.Certificate);
        return chain.Build(certificate)
            ? null
            : $"({certificate.Subject}) is not of this fabric's authority: {string.Join(", ", chain.ChainStatus.Select(static status => status.StatusInformation.TrimEnd('.', ' ')))}";
    }
}
