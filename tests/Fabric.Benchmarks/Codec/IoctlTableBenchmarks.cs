using BenchmarkDotNet.Attributes;
using Fabric.Vfio.Uapi;

namespace Fabric.Benchmarks.Codec;

/// <summary>
/// The table's decoder: any number of any file becomes a message. It is for what is not known beforehand (dispatch to drivers, logs, raw
/// numbers), and makes one record a request; its bytes are shown, and have no target. Who knows what it reads takes the typed path.
/// </summary>
[IterationTime(100), IterationCount(7), WarmupCount(2)]
public class IoctlTableBenchmarks
{
    private readonly byte[] request = new byte[256];

    public static IEnumerable<string> Names => ["VFIO_DEVICE_RESET", "VFIO_DEVICE_GET_INFO", "VFIO_DEVICE_SET_IRQS", "IOMMU_HWPT_ALLOC", "unknown"];

    [ParamsSource(nameof(Names))]
    public string Name { get; set; } = null!;

    private FdKind fd;
    private uint number;
    private int length;

    [GlobalSetup]
    public void Prepare()
    {
        var row = IoctlTable.All.FirstOrDefault(row => row.Name == Name);
        (fd, number, length) = row is null ? (FdKind.Device, uint.MaxValue, 16) : (row.Fd, row.Number, row.Size);
        BitConverter.TryWriteBytes(request, length);
        if (Name == "VFIO_DEVICE_SET_IRQS")
            BitConverter.TryWriteBytes(request.AsSpan(4), (uint)IrqSetFlags.DataNone);
        if (!IoctlTable.Decode(fd, number, request.AsMemory(0, length)).IsOk)
            throw new InvalidOperationException($"The sample of {Name} is refused.");
    }

    [Benchmark(Description = "decode into a message")]
    public bool Decode() => IoctlTable.Decode(fd, number, request.AsMemory(0, length)).IsOk;
}
