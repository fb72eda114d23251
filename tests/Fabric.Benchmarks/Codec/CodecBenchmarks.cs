using BenchmarkDotNet.Attributes;

namespace Fabric.Benchmarks.Codec;

/// <summary>
/// Every structure of the uAPI both ways, as a server does it: a request read with all its checks, the answer written as far as the caller
/// lent room for it. This is the typed path, the one to take where many requests come. The call that reaches the codec is part of the
/// figures; the warm-up is long enough for the compiler's last word.
/// </summary>
[Target(nanoseconds: 200, bytes: 0)]
[IterationTime(40), IterationCount(7), WarmupCount(8), EvaluateOverhead(false)]
public class CodecBenchmarks
{
    public static IEnumerable<Structure> Structures => Structure.All;

    [ParamsSource(nameof(Structures))]
    public Structure Of { get; set; } = null!;

    [GlobalSetup]
    public void Check()
    {
        if (!Of.Decode() || !Of.Encode())
            throw new InvalidOperationException($"The sample of {Of} is refused, so that the way through is not measured.");
    }

    [Benchmark(Description = "decode")]
    public bool Decode() => Of.Decode();

    [Benchmark(Description = "encode")]
    public bool Encode() => Of.Encode();
}
