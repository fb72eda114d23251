using System.Runtime.InteropServices;

namespace Fabric.Linux;

/// <summary>A mapping of a file, mmap(2). Whoever uses it in the moment that it is let go of has it until then.</summary>
internal sealed unsafe class FileMapping : SafeHandle
{
    private readonly nuint length;

    private FileMapping(nint address, nuint length)
        : base(Libc.MapFailed, ownsHandle: true)
    {
        this.length = length;
        SetHandle(address);
    }

    public override bool IsInvalid => handle == Libc.MapFailed;

    /// <summary>Null where mmap(2) fails.</summary>
    public static FileMapping? Create(Descriptor file, ulong offset, ulong length, int protection)
    {
        var address = Libc.Map(0, (nuint)length, protection, Libc.MapShared, file, (long)offset);
        return address == Libc.MapFailed ? null : new FileMapping(address, (nuint)length);
    }

    /// <summary>False once it is let go of.</summary>
    public bool TryRead(ulong offset, Span<byte> destination)
    {
        var held = false;
        try
        {
            DangerousAddRef(ref held);
            new ReadOnlySpan<byte>((byte*)handle + offset, destination.Length).CopyTo(destination);
            return true;
        }
        catch (ObjectDisposedException)
        {
            return false;
        }
        finally
        {
            if (held)
                DangerousRelease();
        }
    }

    /// <summary>False once it is let go of.</summary>
    public bool TryWrite(ulong offset, ReadOnlySpan<byte> source)
    {
        var held = false;
        try
        {
            DangerousAddRef(ref held);
            source.CopyTo(new Span<byte>((byte*)handle + offset, source.Length));
            return true;
        }
        catch (ObjectDisposedException)
        {
            return false;
        }
        finally
        {
            if (held)
                DangerousRelease();
        }
    }

    protected override bool ReleaseHandle() => Libc.Unmap(handle, length) == 0;
}
