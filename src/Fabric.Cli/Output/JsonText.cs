using System.Text.Encodings.Web;
using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Cli.Output;

/// <summary>JSON on standard output, for programs.</summary>
internal static class JsonText
{
    private static readonly JsonSerializerOptions Indented = new(ApiJson.Options)
    {
        WriteIndented = true,
        // Standard output is no HTML page: names and sentences stay readable.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static readonly JsonSerializerOptions Compact = new(Indented) { WriteIndented = false };

    public static string Document<T>(T value) => JsonSerializer.Serialize(value, Indented);

    public static string OneLine<T>(T value) => JsonSerializer.Serialize(value, Compact);
}
