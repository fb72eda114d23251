using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Fabric.Vfio.Uapi;

#pragma warning disable CA1000 // The rule takes the block of a static extension for a generic type: nobody has to name one here.

/// <summary>Bytes to structures and back, in both roles: what a server reads and answers, what a client asks and reads. Nothing allocates.</summary>
public static class UapiCodec
{
    extension<T>(T value) where T : unmanaged, IUapiStruct<T>
    {
        /// <summary>Bytes of the whole structure: the kernel's sizeof.</summary>
        public static int WireSize => Unsafe.SizeOf<T>();

        /// <summary>The bare fields, without any rule. False: fewer than <c>WireSize</c> bytes.</summary>
        public static bool TryRead(ReadOnlySpan<byte> source, out T read) => MemoryMarshal.TryRead(source, out read);

        /// <summary>Writes the whole structure. Errors: EFAULT for a shorter buffer, of which nothing is written then.</summary>
        public VfioResult Encode(Span<byte> buffer) => MemoryMarshal.TryWrite(buffer, in value) ? VfioResult.Ok : Refusal<T>.Memory;
    }

    extension<T>(T value) where T : unmanaged, IUapiRequest<T>
    {
        /// <summary>
        /// A request as a server reads it. What the buffer lacks past the minimum is zero. Errors, in this order: EFAULT where the buffer
        /// is shorter than an argsz, EINVAL for an argsz below the minimum, EFAULT where the buffer is, E2BIG for bytes past the structure
        /// that mean something to the caller, then those of the structure's own check.
        /// </summary>
        public static VfioResult<T> Decode(ReadOnlySpan<byte> request)
        {
            if (!MemoryMarshal.TryRead(request, out uint argsz))
                return Refusal<T>.Memory;
            if (argsz < T.MinSize)
                return RequestRefusal<T>.Short;
            if (request.Length < T.MinSize)
                return Refusal<T>.Memory;

            var lent = request.Lent(argsz);
            if (T.IsExtensible && lent.Length > Unsafe.SizeOf<T>() && lent[Unsafe.SizeOf<T>()..].ContainsAnyExcept((byte)0))
                return RequestRefusal<T>.Unknown;
            var read = Overlay<T>(lent);
            var check = T.Check(read);
            return check.IsOk ? read : check.Error;
        }

        /// <summary>A reply as a client reads it: argsz may be what it should have lent. Errors: EFAULT below the minimum.</summary>
        public static VfioResult<T> DecodeReply(ReadOnlySpan<byte> reply) =>
            reply.Length < Math.Max(T.MinSize, sizeof(uint)) ? Refusal<T>.Memory : Overlay<T>(reply);

        /// <summary>
        /// Answers in the caller's buffer: as much of the structure as its argsz covers, and no byte beyond (IO-2). Errors: EFAULT for a
        /// buffer shorter than that.
        /// </summary>
        /// <param name="argsz">What the caller lent, as its request said.</param>
        public VfioResult EncodeReply(Span<byte> buffer, uint argsz)
        {
            var length = (int)Math.Min(argsz, (uint)Unsafe.SizeOf<T>());
            if (buffer.Length < length)
                return Refusal<T>.Memory;
            MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value))[..length].CopyTo(buffer);
            return VfioResult.Ok;
        }

        /// <summary>What the caller lent past the structure: the data of a request with data.</summary>
        public static ReadOnlySpan<byte> Tail(ReadOnlySpan<byte> request)
        {
            var lent = MemoryMarshal.TryRead(request, out uint argsz) ? request.Lent(argsz) : default;
            return lent.Length > Unsafe.SizeOf<T>() ? lent[Unsafe.SizeOf<T>()..] : default;
        }
    }

    /// <summary>
    /// The first elements of an array in a buffer, seen in place: a claimed count costs nothing. False: the buffer has fewer (EFAULT, in an
    /// ioctl).
    /// </summary>
    public static bool TryView<T>(ReadOnlySpan<byte> source, uint count, out ReadOnlySpan<T> elements) where T : unmanaged
    {
        elements = MemoryMarshal.Cast<byte, T>(source);
        if (count > (uint)elements.Length)
        {
            elements = default;
            return false;
        }

        elements = elements[..(int)count];
        return true;
    }

    internal static VfioError MemoryRefusal<T>() => Refusal<T>.Memory;

    private static ReadOnlySpan<byte> Lent(this ReadOnlySpan<byte> request, uint argsz) => request[..(int)Math.Min(argsz, (uint)request.Length)];

    private static T Overlay<T>(ReadOnlySpan<byte> bytes) where T : unmanaged
    {
        var value = default(T);
        bytes[..Math.Min(bytes.Length, Unsafe.SizeOf<T>())].CopyTo(MemoryMarshal.AsBytes(new Span<T>(ref value)));
        return value;
    }

    // Made once a structure, so that a refusal allocates nothing.
    private static class Refusal<T>
    {
        public static readonly VfioError Memory =
            new(Errno.EFAULT, $"{typeof(T).Name}: the buffer is shorter than what must be read or written; lend as many bytes as argsz says.");
    }

    private static class RequestRefusal<T> where T : unmanaged, IUapiRequest<T>
    {
        public static readonly VfioError Short =
            new(Errno.EINVAL, $"{typeof(T).Name}: argsz is below {T.MinSize}, the least this request takes; set it to the size of the structure.");

        public static readonly VfioError Unknown =
            new(Errno.E2BIG, $"{typeof(T).Name}: bytes past the {Unsafe.SizeOf<T>()} known ones are not zero; leave out what is newer.");
    }
}
