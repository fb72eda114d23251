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
        OfOne(context, "show", "Show one device: its state, its health with the reason, and the way back.", static async (invocation, device) =>
            invocation.Print(await invocation.Api.DeviceAsync(device.Host, device.Address, invocation.Cancellation), ResourceViews.Show)),
        BuildHistory(context),
        OfOne(context, "inspect", "Show the live state of a device's supervisor, driver and core.", static async (invocation, device) =>
            invocation.Print(await invocation.Api.InspectDeviceAsync(device.Host, device.Address, invocation.Cancellation), ResourceViews.Show)),
        BuildReset(context),
        BuildResetMethods(context),
        BuildQuarantine(context),
        OfOne(context, "unquarantine", "Reset a device, probe it, and put it back into service.", static async (invocation, device) =>
            invocation.Print(await invocation.Api.UnquarantineDeviceAsync(device.Host, device.Address, invocation.Cancellation), ResourceViews.Show)),
        BuildOverride(context),
        BuildRemove(context),
        BuildBind(context),
        BuildUnbind(context),
    };

    private static Command OfOne(CommandContext context, string name, string description, Func<Invocation, DeviceName, Task> run)
    {
        var device = DeviceName.Argument();
        return context.Command(
            name,
            description,
            async invocation =>
            {
                await run(invocation, invocation.Value(device));
                return ExitCode.Ok;
            },
            device);
    }

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

    private static Command BuildHistory(CommandContext context)
    {
        var device = DeviceName.Argument();
        var limit = Numbers.Option("--limit", "The last so many entries, at most 1000; default 50.", "N");
        return context.Command(
            "history",
            "Show what happened to a device, newest last.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                invocation.Print(
                    await invocation.Api.DeviceHistoryAsync(host, address, invocation.Value(limit), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            device,
            limit);
    }

    private static Command BuildReset(CommandContext context)
    {
        var device = DeviceName.Argument();
        var method = new Option<string?>("--method") { Description = "Such as flr or bus; default the first that works.", HelpName = "METHOD" };
        return context.Command(
            "reset",
            "Reset a device, whoever holds it.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                invocation.Print(
                    await invocation.Api.ResetDeviceAsync(host, address, new ResetDeviceRequest(invocation.Value(method)), invocation.Cancellation),
                    ResourceViews.Show);
                return ExitCode.Ok;
            },
            device,
            method);
    }

    private static Command BuildResetMethods(CommandContext context)
    {
        var device = DeviceName.Argument();
        var methods = new Argument<string[]>("methods")
        {
            Description = "The reset methods to try, in this order, such as: flr bus.", HelpName = "METHOD", Arity = ArgumentArity.ZeroOrMore,
            DefaultValueFactory = _ => [],
        };
        var none = new Option<bool>("--none") { Description = "Turn resets of this function off." };
        var command = context.Command(
            "reset-methods",
            "Choose which reset methods are tried, and in which order.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                var request = new ResetMethodsRequest(invocation.Value(methods));
                invocation.Print(await invocation.Api.SetResetMethodsAsync(host, address, request, invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            device, methods, none);
        command.Validators.Add(result =>
        {
            if ((result.GetResult(methods)?.Tokens.Count > 0) == (result.GetResult(none) is { Implicit: false }))
                result.AddError("Name the reset methods to try, in their order, or give --none.");
        });
        return command;
    }

    private static Command BuildQuarantine(CommandContext context)
    {
        var device = DeviceName.Argument();
        var reason = new Option<string?>("--reason") { Description = "Why, for its history.", HelpName = "TEXT" };
        return context.Command(
            "quarantine",
            "Take a device out of service: it is handed to nobody until it is put back.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                var request = new QuarantineRequest(invocation.Value(reason));
                invocation.Print(await invocation.Api.QuarantineDeviceAsync(host, address, request, invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            device,
            reason);
    }

    private static Command BuildOverride(CommandContext context)
    {
        var device = DeviceName.Argument();
        var driver = new Argument<string?>("driver")
        {
            Description = "The one driver that may be bound, or vfio-pci for the core alone.", HelpName = "DRIVER", Arity = ArgumentArity.ZeroOrOne,
            DefaultValueFactory = static _ => null,
        };
        var clear = new Option<bool>("--clear") { Description = "Leave the choice to the host again." };
        var command = context.Command(
            "override",
            "Choose a device's driver (driver_override), and probe it anew; refused while it is held.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                invocation.Print(
                    invocation.Value(driver) is { } name
                        ? await invocation.Api.OverrideDriverAsync(host, address, new DriverOverrideRequest(name), invocation.Cancellation)
                        : await invocation.Api.ClearDriverOverrideAsync(host, address, invocation.Cancellation),
                    ResourceViews.Show);
                return ExitCode.Ok;
            },
            device, driver, clear);
        command.Validators.Add(result =>
        {
            if ((result.GetResult(driver)?.Tokens.Count > 0) == (result.GetResult(clear) is { Implicit: false }))
                result.AddError("Name the driver, or give --clear.");
        });
        return command;
    }

    private static Command BuildBind(CommandContext context)
    {
        var device = DeviceName.Argument();
        var force = new Option<bool>("--force") { Description = "Take it though the machine itself needs it: a mounted disk, an interface with routes." };
        var group = new Option<bool>("--group") { Description = "Take what is in its way in its IOMMU group with it." };
        return context.Command(
            "bind",
            "Give a real function to vfio-pci and hand it out, again after each start of its daemon.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                var request = new BindDeviceRequest(invocation.Value(force), invocation.Value(group));
                invocation.Print(await invocation.Api.BindDeviceAsync(host, address, request, invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            device, force, group);
    }

    private static Command BuildUnbind(CommandContext context)
    {
        var device = DeviceName.Argument();
        var group = new Option<bool>("--group") { Description = "Give back what else of its IOMMU group is handed out with it." };
        return context.Command(
            "unbind",
            "Give a real function back to the driver that it had; refused while it is held.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                invocation.Print(
                    await invocation.Api.UnbindDeviceAsync(host, address, invocation.Value(group), invocation.Cancellation), ResourceViews.Show);
                return ExitCode.Ok;
            },
            device, group);
    }

    private static Command BuildRemove(CommandContext context)
    {
        var device = DeviceName.Argument();
        var force = Numbers.Option(
            "--force-after", "Close its holder's sessions by force after so many seconds; default never.", "SECONDS", least: 0);
        return context.Command(
            "remove",
            "Take a device off its bus when its holder has released it; exit 4 while it is waited for.",
            async invocation =>
            {
                var (host, address) = invocation.Value(device);
                var removed = await invocation.Api.RemoveDeviceAsync(
                    host, address, new RemoveDeviceRequest(invocation.Value(force)), invocation.Cancellation);
                invocation.Print(removed, ResourceViews.Show);
                if (removed.Value.Outcome == "done")
                    return ExitCode.Ok;
                invocation.Complain(removed.Value.Message ?? $"{removed.Value.Device} is waited for.");
                return ExitCode.Timeout;
            },
            device,
            force);
    }
}
