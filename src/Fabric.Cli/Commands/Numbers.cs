using System.CommandLine;

namespace Fabric.Cli.Commands;

/// <summary>Options that are counts.</summary>
internal static class Numbers
{
    public static Option<int?> Option(string name, string description, string unit, int least = 1)
    {
        var option = new Option<int?>(name) { Description = description, HelpName = unit };
        option.Validators.Add(result =>
        {
            // Text that is no number at all is reported by the parser; asking for its value again would throw.
            if (result.Tokens is [var token] && int.TryParse(token.Value, out var value) && value < least)
                result.AddError($"{name} is {value}; the least is {least}.");
        });
        return option;
    }
}
