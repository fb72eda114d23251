namespace Fabric.Migration.Journal;

/// <summary>Protobuf has no null: an empty text is what was not written.</summary>
internal static class ProtoText
{
    public static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;
}
