using System.Buffers.Binary;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>The virtual config space of a function that has just been opened, and what stands around it.</summary>
internal sealed class OpenConfig
{
    public OpenConfig(ConfigFunction function)
    {
        Function = function;
        Config = new VirtualConfig(function, Effects);
    }

    public ConfigFunction Function { get; }

    public RecordedEffects Effects { get; } = new();

    public VirtualConfig Config { get; }

    public uint Read(int at, int length)
    {
        Span<byte> bytes = stackalloc byte[4];
        bytes.Clear();
        Assert.Equal(length, Config.Read((ulong)at, bytes[..length]).Value);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    public uint ReadByte(int at) => Read(at, 1);

    public uint ReadWord(int at) => Read(at, 2);

    public uint ReadDword(int at) => Read(at, 4);

    public void Write(int at, params byte[] bytes) => Assert.Equal(bytes.Length, Config.Write((ulong)at, bytes).Value);

    public void WriteByte(int at, byte value) => Write(at, value);

    public void WriteWord(int at, uint value) => Write(at, (byte)value, (byte)(value >> 8));

    public void WriteDword(int at, uint value) => Write(at, (byte)value, (byte)(value >> 8), (byte)(value >> 16), (byte)(value >> 24));
}
