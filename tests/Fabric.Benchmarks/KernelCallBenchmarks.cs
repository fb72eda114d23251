using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using Fabric.Hardware.Linux.Kernel;
using Fabric.Linux;

namespace Fabric.Benchmarks;

/// <summary>What a system call of ours costs over the bare one: an ioctl that every file has, so that no VFIO is needed.</summary>
[Target(nanoseconds: 2000, bytes: 0)]
public unsafe class KernelCallBenchmarks
{
    /// <summary>FIONBIO: takes the address of an int.</summary>
    private const uint SetNonBlocking = 0x5421;

    private readonly EventFd file = EventFd.Create();

    [GlobalCleanup]
    public void Close() => file.Dispose();

    [Benchmark(Baseline = true, Description = "bare ioctl")]
    public int Bare()
    {
        var on = 1;
        return Ioctl(file.Number, SetNonBlocking, &on);
    }

    [Benchmark(Description = "ioctl of a KernelDevice")]
    public bool Ours()
    {
        var on = 1;
        return KernelCall.Ioctl(file, SetNonBlocking, ref on, "It is refused.").IsOk;
    }

    [DllImport("libc", EntryPoint = "ioctl")]
    private static extern int Ioctl(int file, nuint number, void* argument);
}
