using Fabric.Linux;
using Microsoft.Win32.SafeHandles;

namespace Fabric.VfioUser.Tests;

/// <summary>A memfd of a client, as a VMM has it for its guest's memory.</summary>
internal sealed class ClientMemoryFile : IDisposable
{
    private const uint AllowSealing = 2;
    private const int AddSeals = 1033;

    private readonly string name = $"client-{Guid.NewGuid():N}";
    private readonly Descriptor file;

    /// <param name="isSealed">Against shrinking, as QEMU seals it.</param>
    public ClientMemoryFile(int bytes, bool isSealed)
    {
        file = new Descriptor(Libc.CreateMemory(name, AllowSealing));
        Assert.False(file.IsInvalid);
        Truncate(bytes);
        if (isSealed)
            Assert.Equal(0, Libc.Control(file, AddSeals, Libc.SealShrink));
    }

    public int Fd => file.Number;

    /// <summary>Descriptors and mappings of it in this process, the client's own descriptor included.</summary>
    public int Holds
    {
        get
        {
            var targets = Directory.GetFiles("/proc/self/fd").Select(static fd => new FileInfo(fd).LinkTarget);
            return targets.Count(target => target?.Contains(name, StringComparison.Ordinal) == true)
                + File.ReadLines("/proc/self/maps").Count(line => line.Contains(name, StringComparison.Ordinal));
        }
    }

    public void Truncate(int bytes) => Assert.Equal(0, Libc.Truncate(file, bytes));

    public byte[] Read(long offset, int length)
    {
        var bytes = new byte[length];
        using var handle = new SafeFileHandle(file.Number, ownsHandle: false);
        return bytes[..RandomAccess.Read(handle, bytes, offset)];
    }

    public void Dispose() => file.Dispose();
}
