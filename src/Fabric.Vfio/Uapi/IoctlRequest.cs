using System.Text;

namespace Fabric.Vfio.Uapi;

/// <summary>An ioctl as a message: what a file was asked, its bytes understood as far as the table knows the number.</summary>
public abstract record IoctlRequest
{
    private protected IoctlRequest(uint number) => Number = number;

    public uint Number { get; }
}

/// <summary>One that takes no argument.</summary>
public sealed record BareIoctl : IoctlRequest
{
    public BareIoctl(uint number)
        : base(number)
    {
    }
}

/// <summary>One whose argument is a structure, and maybe data behind it within argsz.</summary>
public sealed record StructIoctl<T> : IoctlRequest where T : unmanaged, IUapiStruct<T>
{
    public StructIoctl(uint number, T argument, ReadOnlyMemory<byte> tail = default)
        : base(number) => (Argument, Tail) = (argument, tail);

    public T Argument { get; }

    /// <summary>A window on the request's bytes, not a copy.</summary>
    public ReadOnlyMemory<byte> Tail { get; }
}

/// <summary>GROUP_GET_DEVICE_FD: a name with options, as text that ends with a zero byte (LC-10).</summary>
public sealed record GetDeviceFdIoctl : IoctlRequest
{
    /// <summary>Bytes of text, its end included: a page.</summary>
    public const int MaxLength = 4096;

    public GetDeviceFdIoctl(string name)
        : base(GroupIoctls.GetDeviceFd) => Name = name;

    public string Name { get; }

    /// <summary>Errors: EFAULT for text that the buffer cuts off, EINVAL for more than <see cref="MaxLength"/> bytes.</summary>
    public static VfioResult<GetDeviceFdIoctl> Decode(ReadOnlySpan<byte> text)
    {
        var end = text[..Math.Min(text.Length, MaxLength)].IndexOf((byte)0);
        if (end >= 0)
            return new GetDeviceFdIoctl(Encoding.Latin1.GetString(text[..end]));
        return text.Length < MaxLength
            ? new VfioError(Errno.EFAULT, "GROUP_GET_DEVICE_FD: the name does not end within the buffer; end it with a zero byte.")
            : new VfioError(Errno.EINVAL, "GROUP_GET_DEVICE_FD: the name is longer than a page.");
    }

    /// <summary>Errors: EINVAL for a name too long or not of single bytes, EFAULT for a buffer that is too short.</summary>
    public VfioResult Encode(Span<byte> buffer)
    {
        if (Name.Length >= MaxLength || Name.AsSpan().ContainsAnyExceptInRange('\u0001', '\u00ff'))
            return VfioResult.Fail(Errno.EINVAL, "GROUP_GET_DEVICE_FD: the name is longer than a page, or has characters that are not one byte.");
        if (buffer.Length <= Name.Length)
            return VfioResult.Fail(Errno.EFAULT, "GROUP_GET_DEVICE_FD: the buffer is shorter than the name and its end.");
        buffer[Encoding.Latin1.GetBytes(Name, buffer)] = 0;
        return VfioResult.Ok;
    }
}

/// <summary>One that the table does not know: a driver may. Who does not answers ENOTTY (IO-2).</summary>
public sealed record UnknownIoctl : IoctlRequest
{
    public UnknownIoctl(uint number, ReadOnlyMemory<byte> bytes)
        : base(number) => Bytes = bytes;

    public ReadOnlyMemory<byte> Bytes { get; }
}
