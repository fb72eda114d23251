using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric sriov …</c></summary>
internal static class SriovCommands
{
    public static Command Build(CommandContext context) => new("sriov", "Virtual functions of physical ones.")
    {
        BuildSet(context),
    };

    private static Command BuildSet(CommandContext context)
    {
        var device = DeviceName.Argument();
        var count = new Argument<int>("count") { Description = "VFs that it shall have; 0 removes them.", HelpName = "COUNT" };
        count.Validators.Add(result =>
        {
            // Text that is no number at all is reported by the parser; asking for its value again would throw.
            if (result.Tokens is [var token] && int.TryParse(token.Value, out var value) && value is < 0 or > ushort.MaxValue)
                result.AddError($"COUNT is {value}; it must be 0 to {ushort.MaxValue}.");
        });
        return context.Command(
            "set",
            "Make so many virtual functions of a physical one, or remove them.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                invocation.Print(
                    await invocation.Api.SetSriovAsync(host, address, new SriovRequest(invocation.Value(count)), invocation.Cancellation),
                    ResourceViews.Show);
                return ExitCode.Ok;
            },
            device,
            count);
    }
}
