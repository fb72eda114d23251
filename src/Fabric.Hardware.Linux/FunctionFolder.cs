using System.Globalization;
using System.Text;
using Fabric.Pci;

namespace Fabric.Hardware.Linux;

/// <summary>
/// The sysfs folder of one function. An attribute that cannot be read gives its empty value and is noted in <see cref="Unreadable"/>;
/// one that is optional and not there gives its empty value without a note.
/// </summary>
internal sealed class FunctionFolder(string path)
{
    private const int BarCount = 6;

    /// <summary>sysfs gives an attribute in one read, and none is larger than a page.</summary>
    private const int LargestAttribute = 4096;

    private readonly List<UnreadableAttribute> unreadable = [];

    public IReadOnlyList<UnreadableAttribute> Unreadable => unreadable;

    /// <summary>The function went away while it was read. Only then is its folder missing.</summary>
    public bool IsGone => unreadable.Count > 0 && !Directory.Exists(path);

    /// <summary>
    /// The ids from a modalias, <c>pci:v00008086d00001889sv00008086sd00000000bc02sc00i00</c>: five attributes for the price of one.
    /// </summary>
    public PciIds Ids(string name)
    {
        if (Text(name) is not { } text)
            return default;
        var rest = text.AsSpan().Trim();
        if (TryTake(ref rest, "pci:v", 8, out var vendor) && vendor <= ushort.MaxValue &&
            TryTake(ref rest, "d", 8, out var device) && device <= ushort.MaxValue &&
            TryTake(ref rest, "sv", 8, out var subsystemVendor) && subsystemVendor <= ushort.MaxValue &&
            TryTake(ref rest, "sd", 8, out var subsystem) && subsystem <= ushort.MaxValue &&
            TryTake(ref rest, "bc", 2, out var baseClass) &&
            TryTake(ref rest, "sc", 2, out var subClass) &&
            TryTake(ref rest, "i", 2, out var programmingInterface) &&
            rest.IsEmpty)
        {
            return new PciIds(
                (ushort)vendor, (ushort)device, (ushort)subsystemVendor, (ushort)subsystem,
                (baseClass << 16) | (subClass << 8) | programmingInterface);
        }

        Note(name, "Its text is not the modalias of a PCI function.");
        return default;
    }

    public int? OptionalNumber(string name)
    {
        if (OptionalText(name) is not { } text)
            return null;
        if (int.TryParse(text, CultureInfo.InvariantCulture, out var value))
            return value;
        Note(name, "Its text is not a number.");
        return null;
    }

    public string? OptionalLine(string name) => OptionalText(name)?.Trim();

    public IReadOnlyList<string> OptionalWords(string name) =>
        OptionalText(name)?.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) ?? [];

    /// <summary>The last part of the path that a link points to; null where there is no link.</summary>
    public string? LinkName(string name)
    {
        try
        {
            var link = new FileInfo(Path.Combine(path, name));
            if (link.LinkTarget is { } target)
                return Path.GetFileName(target);
            if (link.Attributes != (FileAttributes)(-1))
                Note(name, "It is not a link, or not one that may be followed.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Note(name, e.Message);
        }

        return null;
    }

    /// <summary>The one entry of a folder; null where there is none.</summary>
    public string? EntryOf(string name)
    {
        var folder = Path.Combine(path, name);
        return Directory.Exists(folder) ? Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName).FirstOrDefault() : null;
    }

    public int? LinkNumber(string name)
    {
        if (LinkName(name) is not { } target)
            return null;
        if (int.TryParse(target, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            return number;
        Note(name, "It does not point to a number.");
        return null;
    }

    public PciAddress? LinkAddress(string name)
    {
        if (LinkName(name) is not { } target)
            return null;
        if (PciAddress.TryParse(target, out var address))
            return address;
        Note(name, "It does not point to a PCI address.");
        return null;
    }

    /// <summary>
    /// The BARs of a resource table: a line each of start, inclusive end and flags. After the six BARs come the ROM, the BARs of VFs
    /// and bridge windows.
    /// </summary>
    public IReadOnlyList<LinuxBar> Bars(string name)
    {
        if (Text(name) is not { } text)
            return [];
        var bars = new List<LinuxBar>(BarCount);
        var index = 0;
        foreach (var line in text.AsSpan().TrimEnd().EnumerateLines())
        {
            if (index == BarCount)
                break;
            if (!TryBar(line, index, out var bar))
            {
                Note(name, $"Its line {index + 1} is not three hexadecimal numbers: start, end and flags.");
                return [];
            }

            if (bar is { Flags: not 0, Size: not 0 })
                bars.Add(bar);
            index++;
        }

        return bars;
    }

    private static bool TryBar(ReadOnlySpan<char> line, int index, out LinuxBar bar)
    {
        bar = default;
        Span<Range> columns = stackalloc Range[4];
        if (line.Split(columns, ' ') != 3 ||
            !TryHex(line[columns[0]], out var start) ||
            !TryHex(line[columns[1]], out var end) ||
            !TryHex(line[columns[2]], out var flags))
        {
            return false;
        }

        // The kernel writes an empty range as one that ends before its start.
        bar = new LinuxBar(index, end < start ? 0 : end - start + 1, flags);
        return true;
    }

    private static bool TryTake(ref ReadOnlySpan<char> rest, string label, int digits, out uint value)
    {
        value = 0;
        if (!rest.StartsWith(label, StringComparison.Ordinal) || rest.Length < label.Length + digits)
            return false;
        var number = rest.Slice(label.Length, digits);
        rest = rest[(label.Length + digits)..];
        return uint.TryParse(number, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private static bool TryHex(ReadOnlySpan<char> text, out ulong value)
    {
        value = 0;
        return text.StartsWith("0x", StringComparison.Ordinal) &&
            ulong.TryParse(text[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private string? OptionalText(string name) => Path.Exists(Path.Combine(path, name)) ? Text(name) : null;

    private string? Text(string name)
    {
        try
        {
            using var file = File.OpenHandle(Path.Combine(path, name));
            Span<byte> bytes = stackalloc byte[LargestAttribute];
            return Encoding.ASCII.GetString(bytes[..RandomAccess.Read(file, bytes, fileOffset: 0)]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Note(name, e.Message);
            return null;
        }
    }

    private void Note(string name, string reason) => unreadable.Add(new UnreadableAttribute(name, reason));
}
