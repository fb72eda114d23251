using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Linux;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Server;

/// <summary>Bytes that are kept from message to message; large ones are lent for one message alone.</summary>
internal sealed class MessageBuffer
{
    private const int Kept = 4096;

    private byte[] own = new byte[Kept];
    private byte[]? lent;

    public byte[] Bytes => lent ?? own;

    /// <summary>At least so many bytes; what was there is kept.</summary>
    public byte[] Require(int length)
    {
        if (length <= Bytes.Length)
            return Bytes;
        var larger = ArrayPool<byte>.Shared.Rent(length);
        Bytes.CopyTo(larger, 0);
        Release();
        return lent = larger;
    }

    public void Release()
    {
        if (lent is not null)
            ArrayPool<byte>.Shared.Return(lent);
        lent = null;
    }

    /// <summary>Somebody else may look at the bytes still: they are not used again.</summary>
    public void Abandon()
    {
        if (lent is null)
            own = new byte[Kept];
        lent = null;
    }
}

/// <summary>A message as it came: head, payload, descriptors.</summary>
internal sealed class Message
{
    private readonly MessageBuffer buffer = new();

    public MessageHeader Header { get; set; }

    public ReceivedDescriptors Descriptors { get; } = new();

    /// <summary>What is wrong with the message as such; after that its stream makes no sense any more.</summary>
    public VfioError Fault { get; set; }

    public int Length { get; private set; }

    public ReadOnlyMemory<byte> Payload => buffer.Bytes.AsMemory(0, Length);

    public Memory<byte> Room(int length)
    {
        Length = length;
        return buffer.Require(length).AsMemory(0, length);
    }

    /// <summary>The payload, where it is this structure and nothing more.</summary>
    public bool Is<T>(out T payload) where T : unmanaged, IUapiStruct<T> => Begins(out payload) && Length == Unsafe.SizeOf<T>();

    /// <summary>What the payload begins with; <see cref="After{T}"/> is what follows.</summary>
    public bool Begins<T>(out T payload) where T : unmanaged, IUapiStruct<T> => MemoryMarshal.TryRead(Payload.Span, out payload);

    /// <summary>The payload, where it is this structure and nothing more. Errors: EINVAL, also for an argsz below the structure's own size.</summary>
    public VfioResult Take<T>(out T payload) where T : unmanaged, IUapiStruct<T> =>
        Is(out payload) ? CheckArgsz<T>() : Refused.Length;

    /// <summary>What the payload begins with; data follow. Errors: EINVAL, also for an argsz below the structure's own size.</summary>
    public VfioResult TakeBeginning<T>(out T payload) where T : unmanaged, IUapiStruct<T> =>
        Begins(out payload) ? CheckArgsz<T>() : Refused.Length;

    public ReadOnlyMemory<byte> After<T>() where T : unmanaged, IUapiStruct<T> => Payload[Unsafe.SizeOf<T>()..];

    public void Clear()
    {
        Descriptors.Clear();
        buffer.Release();
        (Length, Fault) = (0, default);
    }

    public void Abandon() => buffer.Abandon();

    /// <summary>Every structure that has an argsz begins with it (facts §3).</summary>
    private VfioResult CheckArgsz<T>() where T : unmanaged =>
        BitConverter.ToUInt32(Payload.Span) >= (uint)Unsafe.SizeOf<T>() ? VfioResult.Ok : Refused.Argsz;
}

/// <summary>The answer that is being made: room for its head, then its payload.</summary>
internal sealed class Reply
{
    private readonly MessageBuffer buffer = new();

    public int Length { get; private set; }

    /// <summary>An answer of so many bytes after the head.</summary>
    public Span<byte> Payload(int length)
    {
        Length = length;
        return buffer.Require(MessageHeader.Bytes + length).AsSpan(MessageHeader.Bytes, length);
    }

    /// <summary>The same, for what fills it from elsewhere.</summary>
    public Memory<byte> Room(int length)
    {
        Payload(length);
        return buffer.Bytes.AsMemory(MessageHeader.Bytes, length);
    }

    /// <summary>Cuts the answer short.</summary>
    public void Shorten(int length) => Length = length;

    public void Put<T>(T payload) where T : unmanaged, IUapiStruct<T> => payload.Encode(Payload(Unsafe.SizeOf<T>()));

    public void Put<T>(T payload, ReadOnlySpan<byte> data) where T : unmanaged, IUapiStruct<T>
    {
        var room = Payload(Unsafe.SizeOf<T>() + data.Length);
        payload.Encode(room);
        data.CopyTo(room[Unsafe.SizeOf<T>()..]);
    }

    public void Echo(Message request) => request.Payload.Span.CopyTo(Payload(request.Length));

    /// <summary>The whole message.</summary>
    public ReadOnlyMemory<byte> Complete(MessageHeader request)
    {
        request.Answer(Length).Encode(buffer.Bytes);
        return buffer.Bytes.AsMemory(0, MessageHeader.Bytes + Length);
    }

    public ReadOnlyMemory<byte> Refuse(MessageHeader request, Errno errno)
    {
        request.Refusal(errno).Encode(buffer.Bytes);
        return buffer.Bytes.AsMemory(0, MessageHeader.Bytes);
    }

    public void Clear()
    {
        buffer.Release();
        Length = 0;
    }
}
