using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric inject …</c></summary>
internal static class InjectCommands
{
    public static Command Build(CommandContext context) => new("inject", "Faults in emulated functions; real ones are left alone.")
    {
        BuildAer(context),
        BuildHang(context),
        BuildRemove(context),
        BuildFlap(context),
    };

    private static Command BuildAer(CommandContext context)
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
            "aer",
            "Make an emulated function report an AER error, and show its recovery.",
            async invocation =>
            {
                await InjectAsync(invocation, invocation.Value(device), new FaultRequest("aer", Severity: invocation.Value(severity)));
                return ExitCode.Ok;
            },
            device,
            severity);
    }

    private static Command BuildHang(CommandContext context)
    {
        var device = DeviceName.Argument();
        var at = new Option<string>("--at")
        {
            Description = "The calls that do not return any more: config, region, reset or sriov; default reset.",
            HelpName = "POINT",
        };
        at.AcceptOnlyFromAmong("config", "region", "reset", "sriov");
        var release = new Option<bool>("--release") { Description = "End it: the calls return, and none hangs any more." };
        var command = context.Command(
            "hang",
            "Make calls to an emulated function's hardware hang, or end that.",
            async invocation =>
            {
                var hang = new FaultRequest("hang", Point: invocation.Value(at) ?? "reset");
                await InjectAsync(invocation, invocation.Value(device), invocation.Value(release) ? new FaultRequest("release") : hang);
                return ExitCode.Ok;
            },
            device, at, release);
        command.Validators.Add(result =>
        {
            if (result.GetResult(at) is { Implicit: false } && result.GetResult(release) is { Implicit: false })
                result.AddError("--release ends every hang of the function: leave --at out.");
        });
        return command;
    }

    private static Command BuildRemove(CommandContext context)
    {
        var device = DeviceName.Argument();
        var undo = new Option<bool>("--undo") { Description = "Put it back." };
        return context.Command(
            "remove",
            "Pull an emulated function out, as a hand would, or put it back.",
            async invocation =>
            {
                await InjectAsync(invocation, invocation.Value(device), new FaultRequest(invocation.Value(undo) ? "return" : "remove"));
                return ExitCode.Ok;
            },
            device,
            undo);
    }

    private static Command BuildFlap(CommandContext context)
    {
        var device = DeviceName.Argument();
        var times = Numbers.Option("--times", "How often, at most 100; default 1.", "N");
        var each = Numbers.Option("--each-ms", "How long the link is down, and up, each time, in ms; default 100.", "N");
        return context.Command(
            "flap",
            "Make the link of an emulated function go down and up.",
            async invocation =>
            {
                await InjectAsync(
                    invocation, invocation.Value(device), new FaultRequest("flap", Times: invocation.Value(times), EachMs: invocation.Value(each)));
                return ExitCode.Ok;
            },
            device, times, each);
    }

    private static async Task InjectAsync(Invocation invocation, DeviceName device, FaultRequest request)
    {
        var fault = await invocation.Api.InjectAsync(device.Host, device.Address, request, invocation.Cancellation);
        invocation.Print(fault, ResourceViews.Show);
        if (fault.Value.Recovery is { Outcome: "failed" } recovery)
        {
            throw new CommandFailure(
                $"{recovery.Device} did not recover from the {recovery.Severity} error. See 'fabric device show {recovery.Device}'.");
        }
    }
}
