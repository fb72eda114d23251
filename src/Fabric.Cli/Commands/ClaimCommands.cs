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
        var model = new Option<string?>("--model") { Description = "Device model; default accelerator-vf.", HelpName = "MODEL" };
        var host = new Option<string?>("--host") { Description = "Where; default any host with a free function.", HelpName = "HOST" };
        var device = new Option<string?>("--device")
        {
            Description = "Which function of that host, as 0000:3b:00.2; default the first free one.",
            HelpName = "ADDRESS",
            CustomParser = DeviceName.ParseAddress,
        };
        var memory = Numbers.Option("--memory-mib", "Memory of the consumer, in MiB; default 16.", "N");
        var pace = Numbers.Option("--steps-per-second", "Pace of the workload; default 20000.", "N");
        var wait = new Option<bool>("--wait") { Description = "Return when the claim is running." };
        var command = context.Command(
            "create",
            "Claim a device and run the checkable workload on it.",
            async invocation =>
            {
                var request = new CreateClaimRequest(
                    invocation.Value(id), invocation.Value(model), invocation.Value(host), invocation.Value(device),
                    invocation.Value(memory), invocation.Value(pace));
                var created = await invocation.Api.CreateClaimAsync(request, invocation.Cancellation);
                return invocation.Value(wait) ? await WaitRunningAsync(invocation, created) : Print(invocation, created);
            },
            id, model, host, device, memory, pace, wait);
        command.Validators.Add(result =>
        {
            if (result.GetResult(device) is { Implicit: false } && result.GetResult(host) is null)
                result.AddError("--device names a function of one host: give --host too.");
        });
        return command;
    }

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
