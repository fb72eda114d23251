using System.Globalization;
using System.Reflection;

namespace Fabric.Node.Configuration;

/// <summary>
/// Compares what was given with what there is, before it is bound: the binder would name types of ours where a person wants the name of a
/// setting, and passes over some of what it cannot use.
/// </summary>
internal static class SettingsShape
{
    /// <summary>The settings directly below a section: its public properties that can be set.</summary>
    public static IEnumerable<PropertyInfo> SettingsOf(Type section) => section.GetProperties().Where(property => property.CanWrite);

    /// <summary>A name as it is written in JSON.</summary>
    public static string NameOf(PropertyInfo setting) => char.ToLowerInvariant(setting.Name[0]) + setting.Name[1..];

    /// <exception cref="SettingsException">Something given is not a setting, or not of its setting's kind.</exception>
    public static void Check(IConfiguration given, Type section, string path = "")
    {
        foreach (var child in given.GetChildren())
        {
            var setting = SettingsOf(section).FirstOrDefault(known => known.Name.Equals(child.Key, StringComparison.OrdinalIgnoreCase))
                ?? throw new SettingsException($"There is no setting {path}{child.Key}; cluster-config/reference.json has all there are.");
            CheckSetting(child, setting.PropertyType, path + NameOf(setting));
        }
    }

    private static void CheckSetting(IConfigurationSection given, Type type, string name)
    {
        var nested = given.GetChildren().Any();
        if (type.IsArray)
            CheckList(given, nested, name, type == typeof(string[]) ? null : type.GetElementType());
        else if (type == typeof(string))
            Require(!nested && given.Value is not null, name, "text", given, nested);
        else if (type == typeof(int))
            Require(!nested && int.TryParse(given.Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _), name, "a whole number", given, nested);
        else if (type == typeof(bool))
            Require(!nested && bool.TryParse(given.Value, out _), name, "true or false", given, nested);
        else if (nested)
            Check(given, type, name + ".");
        else
            Require(string.IsNullOrEmpty(given.Value), name, "a section, { … }", given, nested);
    }

    /// <param name="section">What its items are; null for texts.</param>
    private static void CheckList(IConfigurationSection given, bool nested, string name, Type? section)
    {
        var kind = section is null ? "a list of texts" : "a list of sections";
        // An empty list has neither a value nor children.
        Require(nested || given.Value is { Length: 0 }, name, kind, given, nested);
        foreach (var item in given.GetChildren())
        {
            var isItem = int.TryParse(item.Key, NumberStyles.None, CultureInfo.InvariantCulture, out _) && item.Value is null == section is not null;
            Require(isItem, name, kind, item, item.GetChildren().Any());
            if (section is not null)
                Check(item, section, $"{name}.{item.Key}.");
        }
    }

    private static void Require(bool holds, string name, string kind, IConfigurationSection given, bool nested)
    {
        if (holds)
            return;
        var what = nested ? "a section or a list" : given.Value is null ? "null" : $"'{given.Value}'";
        throw new SettingsException($"{name} is {what}; it must be {kind}.");
    }
}
