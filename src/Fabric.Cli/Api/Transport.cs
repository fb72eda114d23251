using System.Net.Security;
using System.Security.Authentication;
using Fabric.Node.Security;

namespace Fabric.Cli.Api;

/// <summary>How a daemon is reached: with TLS by the fabric's own authority where one is given, by the machine's otherwise.</summary>
internal static class Transport
{
    /// <summary>A handler for requests to <paramref name="server"/>; files are in PEM.</summary>
    /// <exception cref="CommandFailure">A file is not what it has to be, or one of certificate and key is missing.</exception>
    public static SocketsHttpHandler To(Uri server, string? certificate, string? key, string? authority)
    {
        if (certificate is null != key is null)
            throw new CommandFailure("--cert and --key belong together; give both, or none of them.", ExitCode.Usage);
        var handler = new SocketsHttpHandler { UseProxy = !server.IsLoopback };
        handler.SslOptions.EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13;
        try
        {
            if (certificate is not null && key is not null)
                handler.SslOptions.ClientCertificates = [PemFiles.Certificate(certificate, key)];
            if (authority is not null)
                handler.SslOptions.RemoteCertificateValidationCallback = By(PemFiles.Authority(authority));
            return handler;
        }
        catch (PemException wrong)
        {
            handler.Dispose();
            throw new CommandFailure($"{char.ToUpperInvariant(wrong.Message[0])}{wrong.Message[1..]}.", ExitCode.Usage, wrong);
        }
    }

    private static RemoteCertificateValidationCallback By(PrivateCa authority) =>
        (_, presented, chain, _) => authority.Refusal(presented, chain) is { } refusal
            ? throw new AuthenticationException($"its certificate {refusal}")
            : true;
}
