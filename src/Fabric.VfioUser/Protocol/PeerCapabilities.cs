using System.Buffers;
using System.Text.Json;
using Fabric.Vfio;

namespace Fabric.VfioUser.Protocol;

/// <summary>What the sender of a VERSION takes ("Version Data Format"); what it does not name has its default.</summary>
/// <param name="MaxMessageFds">Descriptors that come with one message at most.</param>
/// <param name="MaxTransfer">Bytes of data in one message at most.</param>
/// <param name="MaxDmaMaps">Mappings at a time.</param>
/// <param name="PageSizes">Sizes of pages of a DMA mapping, or'ed; bytes.</param>
/// <param name="WritesMultiple">REGION_WRITE_MULTI may be used.</param>
public sealed record PeerCapabilities(
    int MaxMessageFds = 1, uint MaxTransfer = 1 << 20, uint MaxDmaMaps = 65535, ulong PageSizes = 4096, bool WritesMultiple = false)
{
    /// <summary>Of the JSON text, its NUL included: what QEMU and libvfio-user send are 200 bytes.</summary>
    public const int MaxJsonBytes = 4096;

    private const int MaxDepth = 8;
    private const int FdsEver = 1024;

    public static PeerCapabilities Default { get; } = new();

    /// <summary>
    /// The capabilities of a request. Errors: EINVAL for a text that is too long, does not end with NUL, is no JSON object, or gives one of the
    /// keys above a value of another type or out of bounds. Keys that mean nothing here are passed over.
    /// </summary>
    public static VfioResult<PeerCapabilities> Read(ReadOnlySpan<byte> text)
    {
        if (text.IsEmpty)
            return Default;
        if (text.Length > MaxJsonBytes || text[^1] != 0)
            return Malformed;
        text = text[..^1];
        // Peers may count more NULs than one.
        text = text.TrimEnd((byte)0);
        try
        {
            var reader = new Utf8JsonReader(text, new JsonReaderOptions { MaxDepth = MaxDepth });
            return Read(ref reader);
        }
        catch (JsonException)
        {
            return Malformed;
        }
    }

    /// <summary>Writes the JSON text of a reply, its NUL included.</summary>
    public void Write(IBufferWriter<byte> destination)
    {
        ArgumentNullException.ThrowIfNull(destination);
        using (var json = new Utf8JsonWriter(destination))
        {
            json.WriteStartObject();
            json.WriteStartObject("capabilities"u8);
            json.WriteNumber("max_msg_fds"u8, MaxMessageFds);
            json.WriteNumber("max_data_xfer_size"u8, MaxTransfer);
            json.WriteNumber("max_dma_maps"u8, MaxDmaMaps);
            json.WriteNumber("pgsizes"u8, PageSizes);
            if (WritesMultiple)
                json.WriteBoolean("write_multiple"u8, true);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        destination.GetSpan(1)[0] = 0;
        destination.Advance(1);
    }

    private static VfioResult<PeerCapabilities> Read(ref Utf8JsonReader reader)
    {
        var read = Default;
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return Malformed;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isCapabilities = reader.ValueTextEquals("capabilities"u8);
            if (!reader.Read())
                return Malformed;
            if (!isCapabilities)
                reader.Skip();
            else if (reader.TokenType != JsonTokenType.StartObject || ReadCapabilities(ref reader, read) is not { } capabilities)
                return Malformed;
            else
                read = capabilities;
        }

        return reader.TokenType == JsonTokenType.EndObject && !reader.Read() ? read : Malformed;
    }

    private static PeerCapabilities? ReadCapabilities(ref Utf8JsonReader reader, PeerCapabilities read)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = KeyOf(ref reader);
            if (!reader.Read())
                return null;
            switch (key)
            {
                case Key.MaxMessageFds when reader.TryNumber(0, FdsEver, out var number):
                    read = read with { MaxMessageFds = (int)number };
                    break;
                case Key.MaxTransfer when reader.TryNumber(1, uint.MaxValue, out var number):
                    read = read with { MaxTransfer = (uint)number };
                    break;
                case Key.MaxDmaMaps when reader.TryNumber(0, uint.MaxValue, out var number):
                    read = read with { MaxDmaMaps = (uint)number };
                    break;
                case Key.PageSizes when reader.TryNumber(1, long.MaxValue, out var number):
                    read = read with { PageSizes = number };
                    break;
                case Key.WritesMultiple when reader.TokenType is JsonTokenType.True or JsonTokenType.False:
                    read = read with { WritesMultiple = reader.GetBoolean() };
                    break;
                case Key.Unknown:
                    reader.Skip();
                    break;
                default:
                    return null;
            }
        }

        return reader.TokenType == JsonTokenType.EndObject ? read : null;
    }

    private static Key KeyOf(ref Utf8JsonReader reader) => reader switch
    {
        _ when reader.ValueTextEquals("max_msg_fds"u8) => Key.MaxMessageFds,
        _ when reader.ValueTextEquals("max_data_xfer_size"u8) => Key.MaxTransfer,
        _ when reader.ValueTextEquals("max_dma_maps"u8) => Key.MaxDmaMaps,
        _ when reader.ValueTextEquals("pgsizes"u8) => Key.PageSizes,
        _ when reader.ValueTextEquals("write_multiple"u8) => Key.WritesMultiple,
        _ => Key.Unknown,
    };

    private static VfioError Malformed => new(
        Errno.EINVAL, "VERSION: the capabilities are no JSON object of the keys and bounds that the specification gives, ended by NUL.");

    private enum Key
    {
        Unknown,
        MaxMessageFds,
        MaxTransfer,
        MaxDmaMaps,
        PageSizes,
        WritesMultiple,
    }
}

internal static class JsonNumbers
{
    /// <summary>An integer within bounds, both of them in it.</summary>
    public static bool TryNumber(this ref Utf8JsonReader reader, ulong least, ulong most, out ulong number)
    {
        number = 0;
        return reader.TokenType == JsonTokenType.Number && reader.TryGetUInt64(out number) && number >= least && number <= most;
    }
}
