using System.Buffers.Binary;
using Fabric.Hardware.Specs.Bench;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Emulated.Models;

/// <summary>A function that does nothing but what its registers tell it: it interrupts, and remembers. What it is else, its model says.</summary>
internal class BenchFunction(PciAddress address, FunctionModel model) : EmulatedFunction(address, model)
{
    private byte[]? vpd;
    private bool isLineSet;

    public override void ConnectDma(IDmaSpace? space)
    {
        // It has no engine, so no DMA of its own to put behind an address space.
    }

    internal override EmulatedFunction Renew() => new BenchFunction(Address, Model);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        if (region == RegionIndex.Rom)
        {
            ReadRom(offset, destination);
            return VfioResult.Ok;
        }

        lock (Clock)
        {
            Memory!.Read(region, offset, destination);
            if (region == 0 && offset < BenchRegister.Bytes)
                ReadRegisters((int)offset, destination);
        }

        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        if (region == 0 && offset < BenchRegister.Bytes)
        {
            WriteRegister((int)offset, source);
            return VfioResult.Ok;
        }

        lock (Clock)
            Memory!.Write(region, offset, source);
        return VfioResult.Ok;
    }

    /// <summary>
    /// VPD: software writes an address with the flag 0 to read and 1 to write; hardware flips it when it is done (PCI Local Bus 3.0,
    /// appendix I).
    /// </summary>
    private protected override ConfigEffects OnConfigWritten(int offset, ReadOnlySpan<byte> source)
    {
        var flagAt = Layout.Vpd + VitalProductData.Address + 1;
        if (Layout.Vpd == 0 || offset > flagAt || offset + source.Length <= flagAt)
            return ConfigEffects.None;
        var register = Get16(Layout.Vpd + VitalProductData.Address);
        var at = register & ~VitalProductData.Flag & ~3;
        if (at + sizeof(uint) <= Model.Vpd.Length)
        {
            if ((register & VitalProductData.Flag) != 0)
                BinaryPrimitives.WriteUInt32LittleEndian((vpd ??= Model.Vpd.ToArray()).AsSpan(at), Get32(Layout.Vpd + VitalProductData.Data));
            else
                Put32(Layout.Vpd + VitalProductData.Data, BinaryPrimitives.ReadUInt32LittleEndian((vpd ?? Model.Vpd.Span)[at..]));
        }

        Put16(Layout.Vpd + VitalProductData.Address, register ^ VitalProductData.Flag);
        return ConfigEffects.None;
    }

    private protected override void OnReset() => isLineSet = false;

    private void ReadRegisters(int offset, Span<byte> destination)
    {
        Span<byte> registers = stackalloc byte[BenchRegister.Bytes];
        Memory!.Read(0, 0, registers);
        BinaryPrimitives.WriteUInt32LittleEndian(registers[BenchRegister.Magic..], BenchRegister.MagicValue);
        BinaryPrimitives.WriteUInt32LittleEndian(registers[BenchRegister.Line..], isLineSet ? 1u : 0);
        var length = Math.Min(destination.Length, BenchRegister.Bytes - offset);
        registers.Slice(offset, length).CopyTo(destination);
    }

    /// <summary>Registers take whole aligned dwords and ignore the rest; an interrupt goes out with the clock free.</summary>
    private void WriteRegister(int offset, ReadOnlySpan<byte> source)
    {
        if (source.Length < sizeof(uint))
            return;
        var value = BinaryPrimitives.ReadUInt32LittleEndian(source);
        switch (offset)
        {
            case BenchRegister.Scratch:
                lock (Clock)
                    Memory!.Write32(0, BenchRegister.Scratch, value);
                break;
            case BenchRegister.Message when value <= ushort.MaxValue:
                SendMessage((int)value);
                break;
            case BenchRegister.Line:
                lock (Clock)
                    isLineSet = (value & 1) != 0;
                SetLine((value & 1) != 0);
                break;
        }
    }

    /// <summary>An image's signature, then the low byte of each offset.</summary>
    private static void ReadRom(ulong offset, Span<byte> destination)
    {
        for (var i = 0; i < destination.Length; i++)
        {
            destination[i] = (offset + (ulong)i) switch
            {
                0 => 0x55,
                1 => 0xaa,
                var at => (byte)at,
            };
        }
    }
}
