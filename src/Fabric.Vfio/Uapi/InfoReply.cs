using System.Collections.Immutable;
using System.Runtime.CompilerServices;

namespace Fabric.Vfio.Uapi;

#pragma warning disable CA1000 // The rule takes the block of a static extension for a generic type: nobody has to name one here.

/// <summary>An info structure that a chain of capabilities may follow (IO-4).</summary>
public interface IInfoReply<TSelf> : IUapiRequest<TSelf> where TSelf : unmanaged, IInfoReply<TSelf>
{
    uint Argsz { get; }

    /// <summary>Where the first capability starts, from the structure's start; 0 where none follows.</summary>
    uint CapOffset { get; }

    /// <summary>The same with its CAPS flag, an argsz and where the chain starts.</summary>
    TSelf WithCapabilities(uint argsz, uint capOffset);

    /// <summary>A capability of this kind of info. Null: its bytes are fewer than it must have.</summary>
    static abstract InfoCapability? Read(VfioInfoCapHeader header, ReadOnlySpan<byte> capability);
}

/// <summary>Chains of capabilities, written and read.</summary>
public static class InfoReply
{
    private const int Alignment = sizeof(ulong);

    extension<T>(T info) where T : unmanaged, IInfoReply<T>
    {
        /// <summary>
        /// The structure and the chain behind it. A caller that lent too little for the chain gets the structure alone: CAPS is set, argsz
        /// says what it takes, no offset (IO-4). Errors: EFAULT for a buffer shorter than what argsz lets be written.
        /// </summary>
        /// <param name="argsz">What the caller lent, as its request said.</param>
        public VfioResult EncodeReply(Span<byte> buffer, uint argsz, ReadOnlySpan<InfoCapability> capabilities)
        {
            if (capabilities.IsEmpty)
                return info.EncodeReply(buffer, argsz);
            var start = Align(Unsafe.SizeOf<T>());
            var size = start;
            foreach (var capability in capabilities)
                size += Align(capability.Size);
            if (argsz < (uint)size)
                return info.WithCapabilities((uint)size, capOffset: 0).EncodeReply(buffer, argsz);
            if (buffer.Length < size)
                return UapiCodec.MemoryRefusal<T>();

            buffer[..size].Clear();
            info.WithCapabilities(argsz, (uint)start).Encode(buffer);
            for (var i = 0; i < capabilities.Length; i++)
            {
                var next = start + Align(capabilities[i].Size);
                capabilities[i].Write(buffer[start..next], i == capabilities.Length - 1 ? 0 : (uint)next);
                start = next;
            }

            return VfioResult.Ok;
        }

        /// <summary>
        /// The chain of a reply, as a client reads it. Every capability must lie behind the one before it, so a chain has an end. Errors:
        /// EFAULT for less than the structure, EINVAL for a chain that leaves the reply or turns back, and for a capability cut short.
        /// </summary>
        public static VfioResult<ImmutableArray<InfoCapability>> DecodeCapabilities(ReadOnlySpan<byte> reply)
        {
            var decoded = UapiCodec.DecodeReply<T>(reply);
            if (!decoded.IsOk)
                return decoded.Error;
            if (decoded.Value.CapOffset == 0)
                return ImmutableArray<InfoCapability>.Empty;

            reply = reply[..(int)Math.Min(decoded.Value.Argsz, (uint)reply.Length)];
            var capabilities = ImmutableArray.CreateBuilder<InfoCapability>();
            var end = (uint)Unsafe.SizeOf<T>();
            for (var at = decoded.Value.CapOffset; at != 0;)
            {
                if (at < end || at > (uint)reply.Length || !VfioInfoCapHeader.TryRead(reply[(int)at..], out var header))
                    return new VfioError(Errno.EINVAL, "An info reply's chain of capabilities leaves the reply or turns back.");
                end = at + (uint)Unsafe.SizeOf<VfioInfoCapHeader>();
                var until = header.Next >= end && header.Next < (uint)reply.Length ? (int)header.Next : reply.Length;
                if (T.Read(header, reply[(int)at..until]) is not { } capability)
                    return new VfioError(Errno.EINVAL, "A capability of an info reply is shorter than its kind must be.");
                capabilities.Add(capability);
                at = header.Next;
            }

            return capabilities.DrainToImmutable();
        }
    }

    private static int Align(int size) => (size + Alignment - 1) & -Alignment;
}
