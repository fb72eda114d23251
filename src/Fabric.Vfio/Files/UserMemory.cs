using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>Structures in a caller's memory, in the kernel's order of checks. Nothing allocates, whatever a caller claims.</summary>
internal static class UserMemory
{
    private const int ChunkBytes = 256;

    public static VfioError Fault => new(Errno.EFAULT, "The argument points to memory that is not there; lend as many bytes as argsz says.");

    extension(IUserMemory memory)
    {
        /// <summary>Bare fields.</summary>
        public bool TryGet<T>(ulong address, out T value) where T : unmanaged
        {
            value = default;
            return memory.TryRead(address, MemoryMarshal.AsBytes(new Span<T>(ref value)));
        }

        public bool TryPut<T>(ulong address, T value) where T : unmanaged =>
            memory.TryWrite(address, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)));

        /// <summary>
        /// The argument of an ioctl. Errors: EFAULT where its least is not there, EINVAL for an argsz below that (the other way round for
        /// requests that are extensible, which then give E2BIG for what is not known and not zero, IO-100), and those of its own check.
        /// </summary>
        public VfioResult<T> Fetch<T>(ulong address) where T : unmanaged, IUapiRequest<T>
        {
            Span<byte> bytes = stackalloc byte[Unsafe.SizeOf<T>()];
            var least = T.IsExtensible ? sizeof(uint) : Math.Max(T.MinSize, sizeof(uint));
            if (!memory.TryRead(address, bytes[..least]))
                return Fault;
            var argsz = MemoryMarshal.Read<uint>(bytes);
            if (argsz < T.MinSize)
                return UapiCodec.Decode<T>(bytes[..least]).Error;
            var lent = (int)Math.Min(argsz, (uint)bytes.Length);
            if (lent > least && !memory.TryRead(address, bytes[..lent]))
            {
                // What lies past the least is optional for these, and looked at where a flag says so.
                if (T.IsExtensible)
                    return Fault;
                bytes[least..].Clear();
            }

            if (T.IsExtensible && argsz > (uint)bytes.Length)
            {
                var unknown = memory.FindUnknown(address + (ulong)bytes.Length, argsz - (uint)bytes.Length);
                if (unknown.Errno != Errno.None)
                    return unknown;
            }

            return UapiCodec.Decode<T>(bytes);
        }

        /// <summary>Answers with as much of a structure as argsz covers. Errors: EFAULT.</summary>
        public VfioResult<int> Respond<T>(ulong address, T value, uint argsz) where T : unmanaged, IUapiStruct<T>
        {
            var bytes = MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value));
            return memory.TryWrite(address, bytes[..(int)Math.Min(argsz, (uint)bytes.Length)]) ? 0 : Fault;
        }

        /// <summary>Answers with a structure and the capabilities behind it (IO-4). Errors: EFAULT.</summary>
        public VfioResult<int> Respond<T>(ulong address, T value, uint argsz, ReadOnlySpan<InfoCapability> capabilities)
            where T : unmanaged, IInfoReply<T>
        {
            if (capabilities.IsEmpty)
                return memory.Respond(address, value, argsz);
            var size = Unsafe.SizeOf<T>();
            foreach (var capability in capabilities)
                size += (capability.Size + sizeof(ulong) - 1) & -sizeof(ulong);
            var buffer = new byte[size];
            var encoded = value.EncodeReply(buffer, argsz, capabilities);
            if (!encoded.IsOk)
                return encoded.Error;
            var length = argsz >= (uint)size ? size : (int)Math.Min(argsz, (uint)Unsafe.SizeOf<T>());
            return memory.TryWrite(address, buffer.AsSpan(0, length)) ? 0 : Fault;
        }

        private VfioError FindUnknown(ulong address, uint length)
        {
            Span<byte> chunk = stackalloc byte[ChunkBytes];
            for (var left = length; left > 0;)
            {
                var part = chunk[..(int)Math.Min(left, ChunkBytes)];
                if (!memory.TryRead(address, part))
                    return Fault;
                if (part.ContainsAnyExcept((byte)0))
                    return new VfioError(Errno.E2BIG, "Bytes past the known structure are not zero; leave out what is newer.");
                address += (uint)part.Length;
                left -= (uint)part.Length;
            }

            return default;
        }
    }
}
