using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Exporters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using Fabric.Benchmarks;
using Fabric.Benchmarks.Devices;
using Fabric.Benchmarks.Fleets;
using Fabric.Benchmarks.Hosts;
using Fabric.Benchmarks.Migrations;
using Fabric.Benchmarks.Storms;
using Fabric.Benchmarks.Transfers;
using Fabric.Benchmarks.VfioUser;

// Ends with 1 where a target was missed.
return args switch
{
    ["devices", .. var rest] => await DeviceBenchmarks.RunAsync(rest),
    ["fleet", .. var rest] => await FleetBenchmark.RunAsync(rest),
    ["host", .. var rest] => await HostBenchmarks.RunAsync(rest),
    ["migration", .. var rest] => await MigrationBenchmark.RunAsync(rest),
    ["storm", .. var rest] => await StormBenchmark.RunAsync(rest),
    ["transfer", .. var rest] => await TransferBenchmark.RunAsync(rest),
    ["vfio-user", .. var rest] => await VfioUserBenchmark.RunAsync(rest),
    _ => Micro(args),
};

static int Micro(string[] args)
{
    // In one process: a baseline and what is measured against it meet the same machine at the same time.
    var config = ManualConfig.CreateEmpty()
        .AddJob(Job.ShortRun.WithToolchain(InProcessEmitToolchain.Instance).WithIterationCount(8))
        .AddDiagnoser(MemoryDiagnoser.Default)
        .AddColumnProvider(DefaultColumnProviders.Instance)
        .AddColumn(StatisticColumn.Median)
        .WithSummaryStyle(SummaryStyle.Default.WithMaxParameterColumnWidth(40))
        .AddExporter(MarkdownExporter.Console)
        .AddLogger(ConsoleLogger.Default);
    return TargetAttribute.Judge(BenchmarkSwitcher.FromAssembly(typeof(TargetAttribute).Assembly).Run(args, config));
}
