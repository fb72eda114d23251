using Fabric.Pci;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// The shadow copy before hardware (CF-1): a read takes virtual bits from the shadow and the rest from hardware, a write merges writable
/// bits into either. All lengths are 1, 2 or 4 bytes, naturally aligned, of one capability.
/// </summary>
internal sealed class ShadowedConfig
{
    private readonly IPciFunction function;
    private readonly ConfigMap map;
    private readonly byte[] shadow;

    /// <param name="raw">Config space as hardware has it now: it becomes the shadow (CF-4).</param>
    public ShadowedConfig(IPciFunction function, ConfigMap map, byte[] raw)
    {
        this.function = function;
        this.map = map;
        shadow = raw;
    }

    public IPciFunction Function => function;

    public uint Read(int at, int length)
    {
        var virtualBits = map.Virtual(at, length);
        var mine = LittleEndian.Load(shadow.AsSpan(at, length));
        return virtualBits == LittleEndian.Ones(length) ? mine : (mine & virtualBits) | (Hardware(at, length) & ~virtualBits);
    }

    public void Write(int at, int length, uint value)
    {
        var virtualBits = map.Virtual(at, length);
        var writable = map.Writable(at, length);
        SetShadow(at, length, Merge(Shadow(at, length), value, writable & virtualBits));
        Narrow(at, length, value, writable & ~virtualBits);
    }

    public uint Shadow(int at, int length) => LittleEndian.Load(shadow.AsSpan(at, length));

    public void SetShadow(int at, int length, uint value) => LittleEndian.Store(shadow.AsSpan(at, length), value);

    public uint Hardware(int at, int length)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        function.ReadConfig(at, bytes[..length]);
        return LittleEndian.Load(bytes[..length]);
    }

    public void SetHardware(int at, int length, uint value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        LittleEndian.Store(bytes[..length], value);
        function.WriteConfig(at, bytes[..length]);
    }

    public ushort HardwareCommand => (ushort)Hardware(ConfigOffset.Command, sizeof(ushort));

    public void CopyShadow(int at, ReadOnlySpan<byte> source) => source.CopyTo(shadow.AsSpan(at));

    public void ClearShadow(int from) => shadow.AsSpan(from).Clear();

    public static uint Merge(uint old, uint value, uint mask) => (old & ~mask) | (value & mask);

    /// <summary>
    /// Hardware sees a write of no more than the half that has writable bits: a neighbour whose bits are cleared by ones (STATUS beside
    /// COMMAND, device status beside device control) is not written back what was read from it.
    /// </summary>
    private void Narrow(int at, int length, uint value, uint mask)
    {
        while (mask != 0 && length > 1)
        {
            var half = length / 2;
            var low = LittleEndian.Ones(half);
            if ((mask & ~low) == 0)
            {
                length = half;
            }
            else if ((mask & low) == 0)
            {
                (at, length) = (at + half, half);
                (value, mask) = (value >> (8 * half), mask >> (8 * half));
            }
            else
            {
                break;
            }
        }

        if (mask == LittleEndian.Ones(length))
            SetHardware(at, length, value);
        else if (mask != 0)
            SetHardware(at, length, Merge(Hardware(at, length) & ~map.ClearedByOne(at, length), value, mask));
    }
}
