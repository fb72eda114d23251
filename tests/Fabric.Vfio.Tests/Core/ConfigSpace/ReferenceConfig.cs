using Fabric.Pci;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>
/// Contract §3 read aloud, one byte at a time: no chunks, no look-ups but the expected masks, hardware as an array. It is given where each
/// capability is.
/// </summary>
internal sealed class ReferenceConfig
{
    private readonly RandomLayout layout;
    private readonly byte[] shadow;
    private readonly byte[] isVirtual;
    private readonly byte[] writable;
    private readonly byte[] vpd;
    private readonly FunctionTraits traits;
    private readonly byte[] realBars;
    private readonly int flrOfExpress;
    private bool intxDisabled;

    public ReferenceConfig(RandomLayout layout)
    {
        this.layout = layout;
        var function = layout.Function;
        traits = function.Traits;
        Hardware = [.. function.Config];
        vpd = [.. function.Vpd];
        shadow = [.. function.Config];
        isVirtual = new byte[shadow.Length];
        writable = [.. Enumerable.Repeat((byte)0xff, shadow.Length)];
        realBars = Hardware[0x10..0x34];
        flrOfExpress = At(layout.Standard, "EXP1", "EXP2", "EXP1RC", "EXP2RC") is { } express ? Hardware[express + 7] & 0x10 : 0;

        Lay("header", 0, 0x40, 0, 0);
        for (var bar = 0; bar < 6; bar++)
            LayBar(ref bar);
        LayRom();
        if (!layout.HasExtendedSpace)
        {
            isVirtual.AsSpan(0x100).Fill(0xff);
            writable.AsSpan(0x100).Clear();
            shadow.AsSpan(0x100).Clear();
        }

        LayStandard();
        if (layout.HasExtendedSpace)
            LayExtended();
        LayTraits();
    }

    public byte[] Hardware { get; }

    public List<string> Effects { get; } = [];

    public bool IsMsiActive { get; set; }

    public int MsiQueueMax { get; set; }

    public bool MemoryEnabled => NoMemoryEnable || (shadow[4] & 2) != 0;

    public byte Read(int at)
    {
        var value = (byte)((shadow[at] & isVirtual[at]) | (Hardware[at] & ~isVirtual[at]));
        return IsMsiActive && at == Msi + 2 ? (byte)((value & ~0x0e) | (Math.Min(MsiQueueMax, (value >> 1) & 7) << 1)) : value;
    }

    public void Write(int at, byte value)
    {
        if (at == 4)
            BeforeCommand(value);
        var readRequest = Express is { } express ? shadow[express + 9] & 0x70 : 0;
        Merge(ref shadow[at], value, writable[at] & isVirtual[at]);
        var ones = layout.Function.ClearedByOne(at);
        ref var hardware = ref Hardware[at];
        var toHardware = writable[at] & ~isVirtual[at];
        hardware = (byte)(hardware & ~(toHardware & ones & value));
        Merge(ref hardware, value, toHardware & ~ones);

        if (at == 4)
            AfterCommand(value);
        else if (at == 5)
            TellIntx();
        else if (at == Pm + 4)
            Effects.Add($"{(PciPowerState)(value & 3)}");
        else if (at == Vpd + 3)
            TransferVpd(Vpd!.Value);
        else if (at == Msi + 2)
            WriteMsi(Msi!.Value);
        else if (at == Express + 9)
            WriteExpress(Express!.Value, readRequest);
        else if (at == Af + 4)
            WriteAf(Af!.Value);
    }

    private bool NoMemoryEnable => traits is FunctionTraits.VirtualFunction or FunctionTraits.NoMemoryEnable;

    private int? Pm => At(layout.Standard, "PM");

    private int? Vpd => At(layout.Standard, "VPD");

    private int? Msi => At(layout.Standard, "MSI32", "MSI64", "MSI32M", "MSI64M");

    private int? Express => At(layout.Standard, "EXP1", "EXP2", "EXP1RC", "EXP2RC");

    private int? Af => At(layout.Standard, "AF");

    private static int? At(List<(CapabilitySample Sample, int Offset)> placed, params string[] names) =>
        placed.Where(one => names.Contains(one.Sample.Masks)).Select(one => (int?)one.Offset).FirstOrDefault();

    private static void Merge(ref byte old, byte value, int mask) => old = (byte)((old & ~mask) | (value & mask));

    // ---- What acts -------------------------------------------------------------------------------------------------------------------

    private void BeforeCommand(byte value)
    {
        if ((value & 2) == 0)
            Effects.Add("block");
        var lost = value & shadow[4] & ~Hardware[4] & (NoMemoryEnable ? 1 : 3);
        if (traits == FunctionTraits.VirtualFunction || (lost == 0 && Hardware.AsSpan(0x10, 24).SequenceEqual(realBars.AsSpan(0, 24))))
            return;
        realBars.AsSpan(0, 24).CopyTo(Hardware.AsSpan(0x10));
        realBars.AsSpan(0x20, 4).CopyTo(Hardware.AsSpan(0x30));
        if (traits == FunctionTraits.BrokenIntx)
            Hardware[5] |= 4;
    }

    private void AfterCommand(byte value)
    {
        Merge(ref shadow[4], value, 3);
        if (MemoryEnabled)
            Effects.Add("unblock");
    }

    private void TellIntx()
    {
        var disabled = (shadow[5] & 4) != 0;
        if (disabled != intxDisabled)
            Effects.Add(disabled ? "INTx off" : "INTx on");
        intxDisabled = disabled;
    }

    private void TransferVpd(int start)
    {
        var (address, isWrite) = (shadow[start + 2] | ((shadow[start + 3] & 0x7f) << 8), (shadow[start + 3] & 0x80) != 0);
        if ((address & 3) != 0)
            return;
        if (isWrite)
            shadow.AsSpan(start + 4, 4).CopyTo(Hardware.AsSpan(start + 4));
        shadow.AsSpan(start + 2, 2).CopyTo(Hardware.AsSpan(start + 2));
        if (layout.Function.AnsweringVpd != start)
            return;
        if (isWrite)
            shadow.AsSpan(start + 4, 4).CopyTo(vpd.AsSpan(address));
        else
            vpd.AsSpan(address, 4).CopyTo(shadow.AsSpan(start + 4));
        vpd.AsSpan(address, 4).CopyTo(Hardware.AsSpan(start + 4));
        Hardware[start + 3] ^= 0x80;
        shadow[start + 3] ^= 0x80;
    }

    private void WriteMsi(int start)
    {
        ref var control = ref shadow[start + 2];
        if (!IsMsiActive)
            control &= 0xfe;
        control = (byte)((control & 0x8f) | (Math.Min((control >> 4) & 7, MsiQueueMax) << 4));
        shadow.AsSpan(start + 2, 2).CopyTo(Hardware.AsSpan(start + 2));
    }

    private void WriteExpress(int start, int readRequest)
    {
        if ((shadow[start + 9] & 0x80) != 0)
        {
            shadow[start + 9] &= 0x7f;
            if (flrOfExpress != 0)
                Effects.Add("reset");
        }

        var asked = shadow[start + 9] & 0x70;
        var size = Math.Max(asked >> 4, (Hardware[start + 8] >> 5) & 7);
        if (asked != readRequest && size <= 5)
            Merge(ref Hardware[start + 9], (byte)(size << 4), 0x70);
    }

    private void WriteAf(int start)
    {
        if ((shadow[start + 4] & 1) == 0)
            return;
        shadow[start + 4] &= 0xfe;
        Effects.Add("reset");
    }

    // ---- What is where ---------------------------------------------------------------------------------------------------------------

    private void Lay(string masks, int offset, int length, int linkStart, int linkLength)
    {
        var (virtualBits, writableBits) = ExpectedMasks.Of(masks, length, linkStart, linkLength);
        virtualBits.CopyTo(isVirtual, offset);
        writableBits.CopyTo(writable, offset);
    }

    private void LayStandard()
    {
        var visible = layout.Standard.Where(placed => placed.Sample.Masks is not null).ToList();
        shadow[0x34] = (byte)(visible.Count == 0 ? 0 : visible[0].Offset);
        if (visible.Count == 0)
            shadow[6] &= 0xef;
        for (var i = 0; i < visible.Count; i++)
        {
            var (sample, offset) = visible[i];
            Lay(sample.Masks!, offset, sample.Length, 1, 1);
            shadow[offset + 1] = (byte)(i + 1 < visible.Count ? visible[i + 1].Offset : 0);
            if (sample.Masks == "PM")
                (shadow[offset + 3], shadow[offset + 5]) = ((byte)(shadow[offset + 3] & 0x07), (byte)(shadow[offset + 5] & 0x7e));
        }
    }

    private void LayExtended()
    {
        var visible = layout.Extended.Where(placed => placed.Sample.Masks is not null).ToList();
        if (layout.Extended[0].Sample.Masks is null)
        {
            visible.Insert(0, layout.Extended[0]);
            shadow.AsSpan(0x100, 4).Clear();
            isVirtual.AsSpan(0x100, 4).Fill(0xff);
            writable.AsSpan(0x100, 4).Clear();
        }

        for (var i = 0; i < visible.Count; i++)
        {
            var (sample, offset) = visible[i];
            if (sample.Masks is not null)
                Lay(sample.Masks, offset, sample.Length, 0, 4);
            var next = i + 1 < visible.Count ? visible[i + 1].Offset : 0;
            shadow[offset + 2] = (byte)((shadow[offset + 2] & 0x0f) | (next << 4));
            shadow[offset + 3] = (byte)(next >> 4);
        }
    }

    private void LayTraits()
    {
        if (traits == FunctionTraits.VirtualFunction)
        {
            var ids = layout.Function.Ids;
            (shadow[0], shadow[1], shadow[2], shadow[3]) = ((byte)ids.Vendor, (byte)(ids.Vendor >> 8), (byte)ids.Device, (byte)(ids.Device >> 8));
        }

        if (NoMemoryEnable)
        {
            shadow[4] |= 2;
            isVirtual[4] |= 2;
        }

        if (traits is FunctionTraits.VirtualFunction or FunctionTraits.BrokenIntx || !layout.Function.HasLine)
            shadow[0x3d] = 0;
    }

    private void LayBar(ref int bar)
    {
        var (kind, size, prefetchable, _) = layout.Function.Bars[bar];
        var lowest = kind == BarKind.Io ? 2 : 4;
        var type = kind switch
        {
            BarKind.None => 0,
            BarKind.Io => 1,
            _ => (kind == BarKind.Memory64 ? 4 : 0) | (prefetchable ? 8 : 0),
        };
        var bits = kind switch { BarKind.None => 0, BarKind.Memory64 => 64, _ => 32 };
        for (var bit = 0; bit < Math.Max(bits, 32); bit++)
            SetBit(0x10 + (4 * bar), bit, canWrite: bit < bits && bit >= lowest && 1UL << bit >= size, one: bit < 4 && (type >> bit & 1) != 0);
        if (kind == BarKind.Memory64)
            bar++;
    }

    private void LayRom()
    {
        var rom = layout.Function.Rom;
        var size = rom.BarSize != 0 ? rom.BarSize : rom.ShadowBytes == 0 ? 0 : 0x8000UL;
        for (var bit = 0; bit < 32; bit++)
            SetBit(0x30, bit, canWrite: size != 0 && (bit == 0 || 1UL << bit >= size), one: false);
    }

    private void SetBit(int register, int bit, bool canWrite, bool one)
    {
        var (at, mask) = (register + (bit / 8), (byte)(1 << (bit % 8)));
        isVirtual[at] |= mask;
        writable[at] = (byte)(canWrite ? writable[at] | mask : writable[at] & ~mask);
        if (!canWrite)
            shadow[at] = (byte)(one ? shadow[at] | mask : shadow[at] & ~mask);
    }
}
