using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Node.Security;

/// <summary>Certificates and keys in files, and what is wrong with them in one sentence. Compiled into the command line too.</summary>
internal static class PemFiles
{
    /// <summary>A certificate with its key; others in the file are authorities between it and the root, which are not needed here.</summary>
    /// <exception cref="PemException">A file cannot be read, is something else, or everybody may read the key.</exception>
    public static X509Certificate2 Certificate(string certificate, string key)
    {
        var pem = Read(certificate, "certificate");
        var secret = Read(key, "key");
        if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(key) & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite)) != 0)
            throw new PemException($"the key {key} may be read or written by everybody on this machine; chmod 600 {key}, and make a new one if it was there for long");
        try
        {
            return X509Certificate2.CreateFromPem(pem, secret);
        }
        catch (Exception wrong) when (wrong is CryptographicException or ArgumentException)
        {
            throw new PemException($"{certificate} and {key} are no certificate and its key in PEM ({Cause(wrong)})", wrong);
        }
    }

    /// <summary>The authority whose certificates are trusted; several while one follows another.</summary>
    /// <exception cref="PemException">The file cannot be read, or has no certificate.</exception>
    public static PrivateCa Authority(string ca)
    {
        var pem = Read(ca, "certificate authority");
        var roots = new X509Certificate2Collection();
        try
        {
            roots.ImportFromPem(pem);
        }
        catch (CryptographicException wrong)
        {
            throw new PemException($"{ca} has no certificate of an authority in PEM ({Cause(wrong)})", wrong);
        }

        return roots.Count > 0 ? new PrivateCa(roots) : throw new PemException($"{ca} has no certificate of an authority in PEM");
    }

    private static string Read(string file, string what)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception unreadable) when (unreadable is IOException or UnauthorizedAccessException)
        {
            throw new PemException($"the {what} {file} cannot be read ({Cause(unreadable)})", unreadable);
        }
    }

    private static string Cause(Exception e) => e.Message.TrimEnd('.');
}

/// <summary>A file of a certificate or key is not what it has to be; the message is the end of a sentence.</summary>
internal sealed class PemException(string message, Exception? inner = null) : Exception(message, inner);
