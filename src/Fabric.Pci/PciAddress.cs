using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Fabric.Pci;

/// <summary>
/// Where a function sits on one host: domain, bus, device, function. Printed as the kernel prints it, <c>0000:3b:00.2</c>.
/// It names a slot of a host, never a device across hosts.
/// </summary>
public readonly record struct PciAddress(ushort Domain, byte Bus, byte Device, byte Function)
    : IComparable<PciAddress>, ISpanParsable<PciAddress>
{
    /// <summary>Device and function as config space and routing ids pack them: <c>device &lt;&lt; 3 | function</c>.</summary>
    public byte DevFn => (byte)((Device << 3) | Function);

    /// <summary>Bus, device and function as one 16-bit routing id.</summary>
    public ushort RoutingId => (ushort)((Bus << 8) | DevFn);

    public static PciAddress FromRoutingId(ushort domain, ushort routingId) =>
        new(domain, (byte)(routingId >> 8), (byte)((routingId >> 3) & 0x1f), (byte)(routingId & 7));

    public int CompareTo(PciAddress other) =>
        Domain != other.Domain ? Domain.CompareTo(other.Domain) : RoutingId.CompareTo(other.RoutingId);

    public static bool operator <(PciAddress left, PciAddress right) => left.CompareTo(right) < 0;
    public static bool operator >(PciAddress left, PciAddress right) => left.CompareTo(right) > 0;
    public static bool operator <=(PciAddress left, PciAddress right) => left.CompareTo(right) <= 0;
    public static bool operator >=(PciAddress left, PciAddress right) => left.CompareTo(right) >= 0;

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Domain:x4}:{Bus:x2}:{Device:x2}.{Function:x1}");

    public static PciAddress Parse(string s, IFormatProvider? provider = null) => Parse(s.AsSpan(), provider);

    public static PciAddress Parse(ReadOnlySpan<char> s, IFormatProvider? provider = null) =>
        TryParse(s, provider, out var address)
            ? address
            : throw new FormatException(Malformed(s));

    /// <summary>The sentence for text that is none, with the remedy.</summary>
    public static string Malformed(ReadOnlySpan<char> s) => $"'{s}' is not a PCI address; write domain:bus:device.function, such as 0000:3b:00.2.";

    public static bool TryParse([NotNullWhen(true)] string? s, IFormatProvider? provider, out PciAddress result) =>
        TryParse(s.AsSpan(), provider, out result);

    public static bool TryParse([NotNullWhen(true)] string? s, out PciAddress result) => TryParse(s.AsSpan(), null, out result);

    /// <summary>
    /// Accepts <c>0000:3b:00.2</c>, <c>3b:00.2</c> (domain 0) and libvirt's <c>pci_0000_3b_00_2</c>, in either case.
    /// </summary>
    public static bool TryParse(ReadOnlySpan<char> s, IFormatProvider? provider, out PciAddress result)
    {
        result = default;
        Span<char> text = stackalloc char[12];
        if (s.StartsWith("pci_", StringComparison.OrdinalIgnoreCase) && s.Length == 16)
        {
            s[4..].CopyTo(text);
            if (text[4] != '_' || text[7] != '_' || text[10] != '_')
                return false;
            (text[4], text[7], text[10]) = (':', ':', '.');
        }
        else if (s.Length == 12)
        {
            s.CopyTo(text);
        }
        else if (s.Length == 7)
        {
            "0000:".CopyTo(text);
            s.CopyTo(text[5..]);
        }
        else
        {
            return false;
        }

        if (text[4] != ':' || text[7] != ':' || text[10] != '.' ||
            !ushort.TryParse(text[..4], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var domain) ||
            !byte.TryParse(text[5..7], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var bus) ||
            !byte.TryParse(text[8..10], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var device) ||
            !byte.TryParse(text[11..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var function) ||
            device > 0x1f || function > 7)
        {
            return false;
        }

        result = new PciAddress(domain, bus, device, function);
        return true;
    }
}
