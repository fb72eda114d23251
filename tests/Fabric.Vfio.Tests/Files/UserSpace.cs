using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Vfio.Files;
using Fabric.Vfio.Tests.Core.Interrupts;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>A process: some memory, a table of descriptors, and the system calls that it makes of them.</summary>
internal sealed class UserSpace : IUserMemory, IFileTable
{
    /// <summary>Where its memory begins; nothing is anywhere else.</summary>
    public const ulong Start = 0x7000_0000;

    public const int Bytes = 64 << 10;

    /// <summary>Where arguments are put.</summary>
    public const ulong Argument = Start + 0x8000;

    /// <summary>An address with nothing behind it.</summary>
    public const ulong Nowhere = 0xdead_0000;

    private readonly byte[] memory = new byte[Bytes];
    private readonly SortedDictionary<int, object> open = [];
    private readonly HashSet<int> reserved = [];

    /// <summary>Descriptors that it may have at a time.</summary>
    public int MaxDescriptors { get; set; } = 1024;

    /// <summary>Reading works there, writing does not; 0 for everywhere the same.</summary>
    public ulong ReadOnlyFrom { get; set; } = ulong.MaxValue;

    public int Descriptors => open.Count + reserved.Count;

    public IEnumerable<VfioFile> Files => open.Values.OfType<VfioFile>();

    public Span<byte> Memory(ulong address, int length) => memory.AsSpan((int)(address - Start), length);

    public bool TryRead(ulong address, Span<byte> destination)
    {
        if (!Has(address, (ulong)destination.Length))
            return false;
        Memory(address, destination.Length).CopyTo(destination);
        return true;
    }

    public bool TryWrite(ulong address, ReadOnlySpan<byte> source)
    {
        if (!Has(address, (ulong)source.Length) || (!source.IsEmpty && address + (ulong)source.Length > ReadOnlyFrom))
            return false;
        source.CopyTo(Memory(address, source.Length));
        return true;
    }

    public bool TryPin(ulong address, ulong length, DmaAccess access, [NotNullWhen(true)] out IDmaMemory? pinned)
    {
        pinned = Has(address, length) ? new Pinned(memory.AsMemory((int)(address - Start), (int)length)) : null;
        return pinned is not null;
    }

    // ---- Descriptors -----------------------------------------------------------------------------------------------------------------

    public int Add(VfioFile file)
    {
        var fd = Reserve().Value;
        Install(fd, file);
        return fd;
    }

    public (int Fd, FakeEventfd Eventfd) AddEventfd()
    {
        var (fd, eventfd) = (Reserve().Value, new FakeEventfd());
        reserved.Remove(fd);
        open[fd] = eventfd;
        return (fd, eventfd);
    }

    /// <summary>An open file that is none of vfio's, nor an eventfd.</summary>
    public int AddOther()
    {
        var fd = Reserve().Value;
        reserved.Remove(fd);
        open[fd] = "a text file";
        return fd;
    }

    public void Close(int fd)
    {
        if (open.Remove(fd, out var file))
            (file as VfioFile)?.Close();
    }

    public VfioFile this[int fd] => (VfioFile)open[fd];

    public VfioFile? Find(int fd) => open.GetValueOrDefault(fd) as VfioFile;

    public EventRef Eventfd(int fd) => open.GetValueOrDefault(fd) switch
    {
        null => new EventRef(fd, null, Errno.EBADF),
        IEventTarget target => new EventRef(fd, target),
        _ => new EventRef(fd, null, Errno.EINVAL),
    };

    public VfioResult<VfioFile?> File(int fd) =>
        open.TryGetValue(fd, out var file) ? VfioResult.Of(file as VfioFile) : new VfioError(Errno.EBADF, "The descriptor is not open.");

    public VfioResult<int> Reserve()
    {
        if (Descriptors >= MaxDescriptors)
            return new VfioError(Errno.EMFILE, "There are too many descriptors.");
        var fd = 3;
        while (open.ContainsKey(fd) || reserved.Contains(fd))
            fd++;
        reserved.Add(fd);
        return fd;
    }

    public void Install(int fd, VfioFile file)
    {
        Assert.True(reserved.Remove(fd), "A file was put behind a descriptor that was not reserved.");
        open[fd] = file;
    }

    public void Release(int fd) => Assert.True(reserved.Remove(fd), "A descriptor was given back that was not reserved.");

    // ---- System calls ----------------------------------------------------------------------------------------------------------------

    /// <summary>ioctl(2) with a number as its argument: what it returns, negative for an errno.</summary>
    public int Ioctl(int fd, uint number, ulong argument = 0)
    {
        var returned = this[fd].Ioctl(number, argument, this, this);
        return returned.IsOk ? returned.Value : -(int)returned.Error.Errno;
    }

    /// <summary>ioctl(2) with a structure, which it may change.</summary>
    public int Ioctl<T>(int fd, uint number, ref T argument, params ReadOnlySpan<byte> tail) where T : unmanaged
    {
        Put(Argument, argument);
        tail.CopyTo(Memory(Argument + (ulong)Unsafe.SizeOf<T>(), tail.Length));
        var returned = Ioctl(fd, number, Argument);
        argument = Get<T>(Argument);
        return returned;
    }

    public int IoctlOf<T>(int fd, uint number, T argument, params ReadOnlySpan<byte> tail) where T : unmanaged =>
        Ioctl(fd, number, ref argument, tail);

    public void Put<T>(ulong address, T value) where T : unmanaged => MemoryMarshal.Write(Memory(address, Unsafe.SizeOf<T>()), value);

    public T Get<T>(ulong address) where T : unmanaged => MemoryMarshal.Read<T>(Memory(address, Unsafe.SizeOf<T>()));

    private static bool Has(ulong address, ulong length) => address >= Start && length <= Bytes && address - Start <= Bytes - length;

    private sealed class Pinned(Memory<byte> memory) : IDmaMemory
    {
        public ulong Length => (ulong)memory.Length;

        public Span<byte> Window(ulong offset, int length) => memory.Span.Slice((int)offset, length);
    }
}
