using System.CommandLine.Parsing;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary>A device that a claim asks for: <c>MODEL</c>, <c>MODEL@ADDRESS</c>, or <c>ADDRESS</c> of the command's model.</summary>
internal static class DeviceAskArgument
{
    public static ClaimDeviceRequest[]? Parse(ArgumentResult result)
    {
        var asked = result.Tokens.Select(static token => Parse(token.Value)).ToArray();
        if (Array.FindIndex(asked, static one => one is null) is >= 0 and var wrong)
        {
            result.AddError(
                $"'{result.Tokens[wrong].Value}' is no device to ask for: write MODEL, MODEL@ADDRESS or ADDRESS, such as accelerator-vf@0000:3b:00.2.");
            return null;
        }

        return asked!;
    }

    public static bool NamesFunction(string text) => Parse(text)?.Device is not null;

    private static ClaimDeviceRequest? Parse(string text)
    {
        if (DeviceName.TryAddress(text, out var alone))
            return new ClaimDeviceRequest(Model: null, alone);
        var at = text.IndexOf('@', StringComparison.Ordinal);
        if (at < 0)
            return text.Length > 0 && !text.Contains(':', StringComparison.Ordinal) ? new ClaimDeviceRequest(text) : null;
        return at > 0 && DeviceName.TryAddress(text[(at + 1)..], out var address) ? new ClaimDeviceRequest(text[..at], address) : null;
    }
}
