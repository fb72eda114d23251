using System.Text.Json;
using Fabric.Node.Configuration;

namespace Fabric.Node.Tests.Configuration;

public sealed class ReferenceTests
{
    private static readonly JsonDocumentOptions WithComments = new() { CommentHandling = JsonCommentHandling.Skip };

    [Fact]
    public void The_reference_names_every_setting_with_its_default()
    {
        using var reference = JsonDocument.Parse(File.ReadAllText(Profiles.PathOf(Profiles.Reference)), WithComments);

        Assert.Equal(Defaults(new FabricSettings(), ""), Given(reference.RootElement, ""));
    }

    [Fact]
    public void The_reference_comments_on_every_setting()
    {
        var lines = File.ReadAllLines(Profiles.PathOf(Profiles.Reference));

        var bare = lines.Where((line, at) => line.Contains("\":", StringComparison.Ordinal) && !line.TrimEnd().EndsWith('{') && !lines[at - 1].Contains("//", StringComparison.Ordinal));

        Assert.Empty(bare);
    }

    [Fact]
    public void The_reference_reads_as_the_defaults_do()
    {
        var given = SettingsLoader.Load(Profiles.PathOf(Profiles.Reference), ["--node:roles:0=control"]);
        var defaults = SettingsLoader.Load(null, ["--node:roles:0=control"]);

        Assert.Equal(Defaults(defaults, ""), Defaults(given, ""));
    }

    /// <summary>Every setting as <c>section.name=value</c>, values as JSON has them.</summary>
    private static IEnumerable<string> Defaults(object section, string path) => SettingsShape.SettingsOf(section.GetType()).SelectMany(setting =>
    {
        var name = path + SettingsShape.NameOf(setting);
        var value = setting.GetValue(section)!;
        return value is string or int or bool or Array ? [$"{name}={JsonSerializer.Serialize(value)}"] : Defaults(value, name + ".");
    }).Order(StringComparer.Ordinal);

    private static IEnumerable<string> Given(JsonElement section, string path) => section.EnumerateObject().SelectMany(setting =>
    {
        var name = path + setting.Name;
        return setting.Value.ValueKind == JsonValueKind.Object ? Given(setting.Value, name + ".") : [$"{name}={setting.Value.GetRawText()}"];
    }).Order(StringComparer.Ordinal);
}
