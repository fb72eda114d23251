using BenchmarkDotNet.Attributes;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Benchmarks;

/// <summary>What the core costs on the paths that a guest takes most.</summary>
[Target(nanoseconds: 200, bytes: 0)]
public class CoreBenchmarks
{
    private readonly RegisterFile function = new();
    private readonly byte[] four = new byte[4];
    private readonly byte[] line = new byte[64];
    private VfioPciCore core = null!;

    [GlobalSetup]
    public void Open()
    {
        core = VfioPciCore.Register(function).Value;
        if (!core.Open().IsOk)
            throw new InvalidOperationException("The device was not opened.");
    }

    [Benchmark(Baseline = true, Description = "BAR read of 4 bytes, the hardware alone")]
    public bool Hardware() => function.ReadRegion(RegionIndex.Bar0, 0x10, four).IsOk;

    [Benchmark(Description = "GET_INFO")]
    public bool GetInfo() => core.GetInfo().IsOk;

    [Benchmark(Description = "GET_REGION_INFO")]
    public bool GetRegionInfo() => core.GetRegionInfo(RegionIndex.Bar0).IsOk;

    [Benchmark(Description = "config read of 4 bytes")]
    public bool ReadConfig() => core.Read(RegionIndex.Config, 0x04, four).IsOk;

    [Benchmark(Description = "BAR read of 4 bytes")]
    public bool ReadBar() => core.Read(RegionIndex.Bar0, 0x10, four).IsOk;

    [Benchmark(Description = "BAR write of 64 bytes")]
    public bool WriteBar() => core.Write(RegionIndex.Bar0, 0x40, line).IsOk;
}
