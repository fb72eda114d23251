using System.CommandLine;

namespace Fabric.Cli.Commands;

/// <summary>A mediated device across the fabric: <c>host/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001</c>.</summary>
internal sealed record MdevName(string Host, string Uuid)
{
    private const string Example = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

    public static Argument<MdevName> Argument() => new("mdev")
    {
        Description = $"The mediated device, as HOST/UUID: host-a/{Example}.",
        HelpName = "HOST/UUID",
        CustomParser = result =>
        {
            var text = result.Tokens[0].Value;
            var slash = text.LastIndexOf('/');
            if (slash > 0 && Guid.TryParseExact(text[(slash + 1)..], "D", out var uuid))
                return new MdevName(text[..slash], uuid.ToString());
            result.AddError($"'{text}' is no mediated device: write HOST/UUID, such as host-a/{Example}.");
            return null;
        },
    };

    public static Option<string?> Option() => new("--uuid")
    {
        Description = "Its UUID; default a random one.",
        HelpName = "UUID",
        CustomParser = result =>
        {
            var text = result.Tokens[0].Value;
            if (Guid.TryParseExact(text, "D", out var uuid))
                return uuid.ToString();
            result.AddError($"'{text}' is no UUID: write it as {Example}.");
            return null;
        },
    };
}
