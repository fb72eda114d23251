using Fabric.Cli;

using var signals = new TerminationSignals();
return await CommandLine.RunAsync(args, CliEnvironment.OfProcess(), signals);
