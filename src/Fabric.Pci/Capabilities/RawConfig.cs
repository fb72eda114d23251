using System.Buffers.Binary;

namespace Fabric.Pci.Capabilities;

/// <summary>Little-endian registers of a copy of config space. What would lie past its end reads 0: hardware may point anywhere.</summary>
internal static class RawConfig
{
    public static byte Byte(ReadOnlySpan<byte> config, int at) => at < config.Length ? config[at] : (byte)0;

    public static ushort Word(ReadOnlySpan<byte> config, int at) =>
        at <= config.Length - sizeof(ushort) ? BinaryPrimitives.ReadUInt16LittleEndian(config[at..]) : (ushort)0;

    public static uint Dword(ReadOnlySpan<byte> config, int at) =>
        at <= config.Length - sizeof(uint) ? BinaryPrimitives.ReadUInt32LittleEndian(config[at..]) : 0;
}
