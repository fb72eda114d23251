using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.RegularExpressions;

namespace Fabric.Cli.Commands;

/// <summary>A device across the fabric: <c>host/0000:3b:00.2</c>.</summary>
internal sealed partial record DeviceName(string Host, string Address)
{
    public static Argument<DeviceName> Argument() => new("device")
    {
        Description = "The device, as HOST/ADDRESS: host-a/0000:3b:00.2.",
        HelpName = "HOST/ADDRESS",
        CustomParser = Parse,
    };

    /// <summary>One that may be left out.</summary>
    public static Argument<DeviceName?> OptionalArgument() => new("device")
    {
        Description = "The device, as HOST/ADDRESS: host-a/0000:3b:00.2.",
        HelpName = "HOST/ADDRESS",
        Arity = ArgumentArity.ZeroOrOne,
        DefaultValueFactory = static _ => null,
        CustomParser = Parse,
    };

    private static DeviceName? Parse(ArgumentResult result)
    {
        var text = result.Tokens[0].Value;
        var slash = text.LastIndexOf('/');
        if (slash > 0 && TryAddress(text[(slash + 1)..], out var address))
            return new DeviceName(text[..slash], address);
        result.AddError($"'{text}' is no device: write HOST/ADDRESS, such as host-a/0000:3b:00.2.");
        return null;
    }

    /// <summary>Also takes libvirt's <c>pci_0000_3b_00_2</c>, and capitals.</summary>
    public static bool TryAddress(string text, out string address)
    {
        var match = AddressPattern().Match(text);
        address = match.Success
            ? $"{match.Groups["domain"]}:{match.Groups["bus"]}:{match.Groups["slot"]}.{match.Groups["function"]}".ToLowerInvariant()
            : "";
        return match.Success;
    }

    [GeneratedRegex(
        @"\A(?:pci_(?<domain>[0-9a-f]{4,8})_(?<bus>[0-9a-f]{2})_(?<slot>[01][0-9a-f])_(?<function>[0-7])"
        + @"|(?<domain>[0-9a-f]{4,8}):(?<bus>[0-9a-f]{2}):(?<slot>[01][0-9a-f])\.(?<function>[0-7]))\z",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture)]
    private static partial Regex AddressPattern();
}
