using Fabric.Linux;
using Fabric.Vfio;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Linux;

/// <summary>
/// A part of a file that a client gave for DMA. What the client can cut off under us is never mapped: touching it would end this process with
/// SIGBUS. Only a memfd that is sealed against shrinking is; any other file is read and written by system calls, which fail instead.
/// </summary>
internal abstract class ClientFile : IDmaTarget, IDisposable
{
    private const ushort TypeMask = 0xf000;
    private const ushort RegularFile = 0x8000;
    private const int EmptyPath = 0x1000;
    private const uint TypeAndSize = 0x1 | 0x200;
    private const ulong Page = 4096;

    private protected ClientFile(Descriptor file, DmaMapPayload asked) => (File, Start, Length) = (file, asked.FileOffset, asked.Length);

    /// <summary>Kept also where the memory is mapped: a device that another process serves is given it.</summary>
    public Descriptor File { get; }

    /// <summary>Where in the file the memory begins; bytes.</summary>
    public ulong Start { get; }

    public ulong Length { get; }

    /// <summary>
    /// Takes the file over, also where it is refused. Errors: EINVAL for what is no regular file or memfd, and for a part that does not begin at a
    /// page or lie within the file; EACCES for a file that is not open for what the device may do; ENOMEM where it cannot be mapped.
    /// </summary>
    public static VfioResult<ClientFile> Open(Descriptor file, DmaMapPayload asked, DmaAccess access)
    {
        var opened = Check(file, asked, access) is { Errno: not Errno.None } refused ? refused : Make(file, asked, access);
        if (!opened.IsOk)
            file.Dispose();
        return opened;
    }

    public abstract bool TryRead(ulong offset, Span<byte> destination);

    public abstract bool TryWrite(ulong offset, ReadOnlySpan<byte> source);

    public virtual void Dispose() => File.Dispose();

    private static unsafe VfioError Check(Descriptor file, DmaMapPayload asked, DmaAccess access)
    {
        Libc.FileStatus status;
        byte nothing = 0;
        if (Libc.Status(file, &nothing, EmptyPath, TypeAndSize, &status) != 0 || (status.Mode & TypeMask) != RegularFile)
            return new VfioError(Errno.EINVAL, "DMA_MAP: the descriptor is that of no regular file or memfd; send one that can be mapped.");
        if (asked.FileOffset % Page != 0)
            return new VfioError(Errno.EINVAL, "DMA_MAP: the file offset is no multiple of 4096.");
        if (asked.FileOffset > status.Size || asked.Length > status.Size - asked.FileOffset)
            return new VfioError(Errno.EINVAL, "DMA_MAP: the range runs past the end of the file; make the file longer first.");
        var mode = Libc.Control(file, Libc.GetFlags, 0) & Libc.AccessMode;
        var lacks = ((access & DmaAccess.Write) != 0 && mode == Libc.ReadOnly) || ((access & DmaAccess.Read) != 0 && mode == Libc.WriteOnly);
        return lacks ? new VfioError(Errno.EACCES, "DMA_MAP: the file is not open for what the device may do; open it for both.") : default;
    }

    private static VfioResult<ClientFile> Make(Descriptor file, DmaMapPayload asked, DmaAccess access)
    {
        var seals = Libc.Control(file, Libc.GetSeals, 0);
        if (seals < 0 || (seals & Libc.SealShrink) == 0)
            return new Unsealed(file, asked);
        var protection = ((access & DmaAccess.Read) != 0 ? Libc.ProtectRead : 0) | ((access & DmaAccess.Write) != 0 ? Libc.ProtectWrite : 0);
        var mapping = FileMapping.Create(file, asked.FileOffset, asked.Length, protection);
        if (mapping is null)
            return new VfioError(Errno.ENOMEM, "DMA_MAP: mmap(2) refused the file; map less, or raise vm.max_map_count.");
        return new Sealed(file, asked, mapping);
    }

    private sealed class Sealed(Descriptor file, DmaMapPayload asked, FileMapping mapping) : ClientFile(file, asked)
    {
        public override bool TryRead(ulong offset, Span<byte> destination) => mapping.TryRead(offset, destination);

        public override bool TryWrite(ulong offset, ReadOnlySpan<byte> source) => mapping.TryWrite(offset, source);

        public override void Dispose()
        {
            mapping.Dispose();
            base.Dispose();
        }
    }

    private sealed unsafe class Unsealed(Descriptor file, DmaMapPayload asked) : ClientFile(file, asked)
    {
        public override bool TryRead(ulong offset, Span<byte> destination)
        {
            while (!destination.IsEmpty)
            {
                nint moved;
                fixed (byte* bytes = destination)
                    moved = File.IsClosed ? 0 : Libc.ReadAt(File, bytes, (nuint)destination.Length, (long)(Start + offset));
                if (moved <= 0)
                    return false;
                destination = destination[(int)moved..];
                offset += (ulong)moved;
            }

            return true;
        }

        public override bool TryWrite(ulong offset, ReadOnlySpan<byte> source)
        {
            // A write past the end would make the file longer again: what was cut off is gone.
            Libc.FileStatus status;
            byte nothing = 0;
            if (File.IsClosed || Libc.Status(File, &nothing, EmptyPath, TypeAndSize, &status) != 0)
                return false;
            if (Start + offset + (ulong)source.Length > status.Size)
                return false;
            while (!source.IsEmpty)
            {
                nint moved;
                fixed (byte* bytes = source)
                    moved = Libc.WriteAt(File, bytes, (nuint)source.Length, (long)(Start + offset));
                if (moved <= 0)
                    return false;
                source = source[(int)moved..];
                offset += (ulong)moved;
            }

            return true;
        }
    }
}
