using System.CommandLine;
using Fabric.Node.Hosting;
using Fabric.Node.Serving;

var config = new Option<FileInfo?>("--config") { Description = "The daemon's settings, JSON; cluster-config/ has examples." };
var check = new Option<bool>("--check") { Description = "Reads the settings, says what is wrong with them, and ends." };
var untilStdinCloses = new Option<bool>("--exit-on-stdin-close") { Description = "Ends when its standard input is closed: for a parent that starts it." };
var command = new RootCommand("fabricd runs PCI devices, the claims on them, or both. Settings may also be given as --section:key=value.")
{
    config, check, untilStdinCloses, ServeCommand.Build(),
};
command.TreatUnmatchedTokensAsErrors = false;
command.SetAction((parsed, cancellation) => Daemon.RunAsync(
    parsed.GetValue(config)?.FullName, [.. parsed.UnmatchedTokens], parsed.GetValue(check), parsed.GetValue(untilStdinCloses), cancellation));
// A daemon that is told to end leaves its cluster and closes its devices first: on a busy machine that takes longer than the two seconds that
// are the default, after which the process would be ended in the middle of it.
return await command.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromSeconds(60) });
