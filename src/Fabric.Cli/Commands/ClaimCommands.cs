using System.CommandLine;
using Fabric.Cli.Api;
using Fabric.Cli.Output;
using Fabric.Node.Api;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric claim …</c></summary>
internal static class ClaimCommands
{
    private static readonly TimeSpan WaitLimit = TimeSpan.FromSeconds(60);

    public static Command Build(CommandContext context) => new("claim", "Consumers' holds on devices.")
    {
        BuildCreate(context),
        context.Command("list", "List the claims.", ListAsync),
        Build(context, "show", "Show one claim, its workload and its migrations.", ShowAsync),
        Build(context, "verify", "Compare the whole of consumer memory and device state with the step count.", VerifyAsync),
        BuildRelease(context),
    };

    private static Argument<string> Id() => new("claim") { Description = "The claim's id.", HelpName = "CLAIM" };

    private static Command Build(CommandContext context, string name, string description, Func<Invocation, string, Task<int>> run)
    {
        var id = Id();
        return context.Command(name, description, invocation => run(invocation, invocation.Value(id)), id);
    }

    private static Command BuildCreate(CommandContext context)
    {
        var id = Id();
        var model = new Option<string?>("--model") { Description = "Device model where --device does not say; default accelerator-vf.", HelpName = "MODEL" };
        var host = new Option<string?>("--host") { Description = "Where; default any host with free functions.", HelpName = "HOST" };
        var device = new Option<ClaimDeviceRequest[]?>("--device")
        {
            Description = "A device to claim, and which function of the host, as accelerator-vf@0000:3b:00.2; again for each further one. Default one device of the model.",
            HelpName = "MODEL[@ADDRESS]",
            CustomParser = DeviceAskArgument.Parse,
            AllowMultipleArgumentsPerToken = false,
            Arity = ArgumentArity.OneOrMore,
        };
        var memory = Numbers.Option("--memory-mib", "Memory of the consumer, in MiB; default 16.", "N");
        var pace = Numbers.Option("--steps-per-second", "Pace of the workload; default 20000.", "N");
        var onFailure = new Option<string?>("--on-device-failure")
        {
            Description = "When its device fails: evacuate (default) moves it away with its state, or stops it; restart starts it afresh where the "
                + "state is lost; stay does nothing.",
            HelpName = "POLICY",
        };
        onFailure.AcceptOnlyFromAmong("evacuate", "restart", "stay");
        var onHostLoss = new Option<string?>("--on-host-loss")
        {
            Description = "When its host is lost: wait (default) waits for it; restart runs it under a lease, and starts it afresh elsewhere when "
                + "that has ended.",
            HelpName = "POLICY",
        };
        onHostLoss.AcceptOnlyFromAmong("wait", "restart");
        var lease = Numbers.Option("--lease-seconds", "Length of that lease; default 60.", "N");
        var select = new Option<string[]>("--select") { Description = "A label that its host must have, wherever it moves, as zone=a; may be repeated.", HelpName = "KEY=VALUE" };
        var apart = new Option<string?>("--apart-from") { Description = "A group of claims of which no two are on one host.", HelpName = "GROUP" };
        var wait = new Option<bool>("--wait") { Description = "Return when the claim is running." };
        var command = context.Command(
            "create",
            "Claim devices of one host and run the checkable workload on them.",
            async invocation =>
            {
                var request = RequestOf(invocation.Value(model), invocation.Value(device)) with
                {
                    Id = invocation.Value(id),
                    Host = invocation.Value(host),
                    MemoryMib = invocation.Value(memory),
                    StepsPerSecond = invocation.Value(pace),
                    OnDeviceFailure = invocation.Value(onFailure),
                    OnHostLoss = invocation.Value(onHostLoss),
                    LeaseSeconds = invocation.Value(lease),
                    Select = invocation.Value(select) is { Length: > 0 } labels ? labels : null,
                    ApartFrom = invocation.Value(apart),
                };
                var created = await invocation.Api.CreateClaimAsync(request, invocation.Cancellation);
                return invocation.Value(wait) ? await WaitRunningAsync(invocation, created) : Print(invocation, created);
            },
            id, model, host, device, memory, pace, onFailure, onHostLoss, lease, select, apart, wait);
        command.Validators.Add(result =>
        {
            if (result.GetResult(device)?.Tokens.Any(static token => DeviceAskArgument.NamesFunction(token.Value)) == true && result.GetResult(host) is null)
                result.AddError("--device names a function of one host: give --host too.");
        });
        return command;
    }

    /// <summary>One device in the short form, which every daemon knows.</summary>
    private static CreateClaimRequest RequestOf(string? model, ClaimDeviceRequest[]? devices) => devices switch
    {
        null or [] => new CreateClaimRequest("", model),
        [var only] => new CreateClaimRequest("", only.Model ?? model, Device: only.Device),
        _ => new CreateClaimRequest("", Devices: [.. devices.Select(asked => asked with { Model = asked.Model ?? model })]),
    };

    private static Command BuildRelease(CommandContext context)
    {
        var id = Id();
        var wait = new Option<bool>("--wait") { Description = "Return when the device is free." };
        return context.Command(
            "release",
            "Stop the workload and give the device back.",
            async invocation =>
            {
                var released = await invocation.Api.ReleaseClaimAsync(invocation.Value(id), invocation.Cancellation);
                return Print(invocation, invocation.Value(wait) ? await ReleasedAsync(invocation, released) : released);
            },
            id,
            wait);
    }

    private static async Task<int> ListAsync(Invocation invocation)
    {
        invocation.Print(await invocation.Api.ClaimsAsync(invocation.Cancellation), ResourceViews.Show);
        return ExitCode.Ok;
    }

    private static async Task<int> ShowAsync(Invocation invocation, string id) =>
        Print(invocation, await invocation.Api.ClaimAsync(id, invocation.Cancellation));

    private static async Task<int> VerifyAsync(Invocation invocation, string id)
    {
        var verified = await invocation.Api.VerifyClaimAsync(id, invocation.Cancellation);
        invocation.Print(verified, ResourceViews.Show);
        if (verified.Value.Damaged == 0)
            return ExitCode.Ok;
        invocation.Complain(
            $"Claim {id} is damaged: {verified.Value.Damaged} records or counters are not what {verified.Value.Steps} steps make. "
            + $"See 'fabric claim show {id}' for what it went through.");
        return ExitCode.Failed;
    }

    private static async Task<int> WaitRunningAsync(Invocation invocation, ApiReply<ClaimResource> created)
    {
        var id = created.Value.Id;
        var claim = await invocation.Patience(WaitLimit).UntilAsync(
            cancellation => invocation.Api.ClaimAsync(id, cancellation),
            reply => reply.Value.Phase is "running" or "failed" or "released",
            $"Claim {id} is not running",
            invocation.Cancellation);
        Print(invocation, claim);
        if (claim.Value.Phase == "running")
            return ExitCode.Ok;
        invocation.Complain($"Claim {id} is {claim.Value.Phase} and does not run: {claim.Value.Message ?? "no reason was given"}.");
        return ExitCode.Failed;
    }

    private static async Task<ApiReply<ClaimResource>> ReleasedAsync(Invocation invocation, ApiReply<ClaimResource> released)
    {
        var id = released.Value.Id;
        return await invocation.Patience(WaitLimit).UntilAsync(
            cancellation => invocation.Api.ClaimAsync(id, cancellation),
            reply => reply.Value.Phase == "released",
            $"Claim {id} is not released",
            invocation.Cancellation);
    }

    private static int Print(Invocation invocation, ApiReply<ClaimResource> claim)
    {
        invocation.Print(claim, ResourceViews.Show);
        return ExitCode.Ok;
    }
}
