using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric device …</c></summary>
internal static class DeviceCommands
{
    public static Command Build(CommandContext context) => new("device", "The PCI functions of the hosts.")
    {
        BuildList(context),
        BuildShow(context),
        BuildInjectAer(context),
    };

    private static Command BuildList(CommandContext context)
    {
        var host = new Option<string?>("--host") { Description = "Only this host's.", HelpName = "HOST" };
        return context.Command(
            "list",
            "List the devices.",
            async invocation =>
            {
                invocation.Print(
                    await invocation.Api.DevicesAsync(invocation.Value(host), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            host);
    }

    private static Command BuildShow(CommandContext context)
    {
        var device = DeviceName.Argument();
        return context.Command(
            "show",
            "Show one device and its recent history.",
            async invocation =>
            {
                var name = invocation.Value(device);
                invocation.Print(
                    await invocation.Api.DeviceAsync(name.Host, name.Address, invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            device);
    }

    private static Command BuildInjectAer(CommandContext context)
    {
        var device = DeviceName.Argument();
        var severity = new Option<string>("--severity")
        {
            Description = "correctable, non-fatal or fatal.",
            HelpName = "SEVERITY",
            Required = true,
        };
        severity.AcceptOnlyFromAmong("correctable", "non-fatal", "fatal");
        return context.Command(
            "inject-aer",
            "Inject an AER error into an emulated device and show its recovery.",
            async invocation =>
            {
                var name = invocation.Value(device);
                var recovery = await invocation.Api.InjectAerAsync(
                    name.Host, name.Address, new InjectAerRequest(invocation.Value(severity)!), invocation.Cancellation);
                invocation.Print(recovery, ResourceViews.Show);
                if (recovery.Value.Outcome != "failed")
                    return ExitCode.Ok;
                invocation.Complain(
                    $"{recovery.Value.Device} did not recover from the {recovery.Value.Severity} error. See "
                    + $"'fabric device show {recovery.Value.Device}'.");
                return ExitCode.Failed;
            },
            device,
            severity);
    }
}
