using System.CommandLine;
using System.Globalization;

namespace Fabric.Cli.Commands;

/// <summary>Options that are counts.</summary>
internal static class Numbers
{
    /// <summary>Read here, since the library would name a type of the language where a person wants to know what to write.</summary>
    public static Option<int?> Option(string name, string description, string unit, int least = 1) => new(name)
    {
        Description = description,
        HelpName = unit,
        CustomParser = result =>
        {
            var text = result.Tokens[0].Value;
            if (!int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value))
                result.AddError($"{name} is '{text}'; write a whole number from {least} to {int.MaxValue}.");
            else if (value < least)
                result.AddError($"{name} is {value}; the least is {least}.");
            return value;
        },
    };
}
