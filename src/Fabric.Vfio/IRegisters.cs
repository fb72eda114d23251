using System.Buffers.Binary;

namespace Fabric.Vfio;

/// <summary>Registers of a device, or memory of it, as a driver reaches them: a mapping, in a test the function itself.</summary>
public interface IRegisters
{
    /// <summary>Errors: EFAULT past the end, EIO when the device does not answer, ENODEV after its session.</summary>
    VfioResult Read(ulong offset, Span<byte> destination);

    /// <summary>Errors: EFAULT past the end, EIO when the device does not answer, ENODEV after its session.</summary>
    VfioResult Write(ulong offset, ReadOnlySpan<byte> source);
}

/// <summary>Registers of 32 bits, little-endian.</summary>
public static class Registers
{
    /// <summary>Errors: those of <see cref="IRegisters.Read"/>.</summary>
    public static VfioResult<uint> Read32(this IRegisters registers, ulong offset)
    {
        ArgumentNullException.ThrowIfNull(registers);
        Span<byte> value = stackalloc byte[sizeof(uint)];
        var read = registers.Read(offset, value);
        return read.IsOk ? BinaryPrimitives.ReadUInt32LittleEndian(value) : read.Error;
    }

    /// <summary>Errors: those of <see cref="IRegisters.Write"/>.</summary>
    public static VfioResult Write32(this IRegisters registers, ulong offset, uint value)
    {
        ArgumentNullException.ThrowIfNull(registers);
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return registers.Write(offset, bytes);
    }
}
