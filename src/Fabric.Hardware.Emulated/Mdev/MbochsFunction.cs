using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Specs.Mbochs;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mdev;

/// <summary>
/// A Bochs display in software, in the manner of the kernel's samples/vfio-mdev mbochs: video RAM, the VBE registers, and a monitor that the host
/// connects. Accesses to registers that are not of their width read 0 and write nothing. It has neither interrupts nor DMA.
/// </summary>
internal sealed class MbochsFunction : EmulatedFunction
{
    private readonly int megabytes;
    private readonly uint columns;
    private readonly uint rows;
    private readonly VideoMemory memory;
    private readonly ushort[] dispi = new ushort[Dispi.Registers];
    private readonly byte[] edid = new byte[MbochsEdid.BlobBytes];
    private uint edidSize;
    private uint link;

    public MbochsFunction(PciAddress address, int megabytes, uint columns, uint rows)
        : base(address, ModelOf(megabytes))
    {
        (this.megabytes, this.columns, this.rows) = (megabytes, columns, rows);
        memory = new VideoMemory(megabytes << 20);
        PowerOnRegisters();
    }

    public override int? IommuGroup => EmulatedBus.GroupNumber(Address.Domain, Address.RoutingId);

    public override void ConnectDma(IDmaSpace? space)
    {
        // It has no engine, so no DMA of its own to put behind an address space.
    }

    internal override EmulatedFunction Renew() => new MbochsFunction(Address, megabytes, columns, rows);

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        lock (Clock)
        {
            if (region == MbochsRegion.VideoMemory)
                memory.Read((int)offset, destination);
            else if (region == MbochsRegion.Registers)
                ReadRegisters((int)offset, destination);
            else
                ReadMonitor((int)offset, destination);
        }

        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
        {
            if (region == MbochsRegion.VideoMemory)
                memory.Write((int)offset, source);
            else if (region == MbochsRegion.Registers)
                WriteRegister((int)offset, source);
            else
                WriteMonitor((int)offset, source);
        }

        return VfioResult.Ok;
    }

    /// <summary>Video RAM and the monitor stay as they are.</summary>
    private protected override void OnReset() => PowerOnRegisters();

    private void PowerOnRegisters()
    {
        Array.Clear(dispi);
        dispi[(int)DispiIndex.Id] = Dispi.Version5;
        dispi[(int)DispiIndex.VideoMemory] = (ushort)(megabytes << 4);
    }

    private void ReadRegisters(int offset, Span<byte> destination)
    {
        destination.Clear();
        if (offset < MbochsRegisters.Edid + MbochsRegisters.EdidBytes)
        {
            var shown = link == MbochsEdid.LinkUp && offset < edidSize ? edid.AsSpan(offset) : [];
            shown[..Math.Min(shown.Length, destination.Length)].CopyTo(destination);
        }
        else if (RegisterAt(offset, destination.Length) is { } register)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(destination, dispi[(int)register]);
        }
    }

    private void WriteRegister(int offset, ReadOnlySpan<byte> source)
    {
        if (RegisterAt(offset, source.Length) is { } register and not (DispiIndex.Id or DispiIndex.VideoMemory))
            dispi[(int)register] = BinaryPrimitives.ReadUInt16LittleEndian(source);
    }

    private static DispiIndex? RegisterAt(int offset, int length)
    {
        var at = offset - MbochsRegisters.Dispi;
        return length == sizeof(ushort) && at >= 0 && at % sizeof(ushort) == 0 && at / sizeof(ushort) < Dispi.Registers
            ? (DispiIndex)(at / sizeof(ushort))
            : null;
    }

    private void ReadMonitor(int offset, Span<byte> destination)
    {
        destination.Clear();
        if (InBlob(offset, destination.Length))
        {
            edid.AsSpan(offset - MbochsEdid.Blob, destination.Length).CopyTo(destination);
            return;
        }

        Span<byte> head = stackalloc byte[MbochsEdid.HeadBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(head[MbochsEdid.BlobOffset..], MbochsEdid.Blob);
        BinaryPrimitives.WriteUInt32LittleEndian(head[MbochsEdid.MostBytes..], MbochsEdid.BlobBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(head[MbochsEdid.Size..], edidSize);
        BinaryPrimitives.WriteUInt32LittleEndian(head[MbochsEdid.MostColumns..], columns);
        BinaryPrimitives.WriteUInt32LittleEndian(head[MbochsEdid.MostRows..], rows);
        BinaryPrimitives.WriteUInt32LittleEndian(head[MbochsEdid.LinkState..], link);
        if (offset < head.Length)
            head.Slice(offset, Math.Min(destination.Length, head.Length - offset)).CopyTo(destination);
    }

    private void WriteMonitor(int offset, ReadOnlySpan<byte> source)
    {
        if (InBlob(offset, source.Length))
            source.CopyTo(edid.AsSpan(offset - MbochsEdid.Blob));
        else if (source.Length == sizeof(uint) && offset == MbochsEdid.Size)
            edidSize = Math.Min(BinaryPrimitives.ReadUInt32LittleEndian(source), MbochsEdid.BlobBytes);
        else if (source.Length == sizeof(uint) && offset == MbochsEdid.LinkState)
            link = BinaryPrimitives.ReadUInt32LittleEndian(source);
    }

    private static bool InBlob(int offset, int length) =>
        offset >= MbochsEdid.Blob && offset + length <= MbochsEdid.Blob + MbochsEdid.BlobBytes;

    private static FunctionModel ModelOf(int megabytes)
    {
        var ids = new PciIds(MbochsIds.Vendor, MbochsIds.Device, MbochsIds.SubsystemVendor, MbochsIds.Subsystem, MbochsIds.ClassCode);
        PciBar[] bars =
        [
            new(BarKind.Memory32, (ulong)megabytes << 20, Prefetchable: true), PciBar.None, new(BarKind.Memory32, MbochsRegisters.Bytes), PciBar.None,
            new(BarKind.Memory32, MbochsEdid.Bytes), PciBar.None,
        ];
        return DisplayModels.Of(ids, bars);
    }

    /// <summary>Video RAM in pieces that come to be when they are written, so that an idle display costs nothing; untouched it reads 0.</summary>
    private sealed class VideoMemory(int bytes)
    {
        private const int PieceBytes = 64 << 10;

        private readonly byte[]?[] pieces = new byte[]?[bytes / PieceBytes];

        public void Read(int offset, Span<byte> destination)
        {
            while (!destination.IsEmpty)
            {
                var (piece, within) = (offset / PieceBytes, offset % PieceBytes);
                var part = destination[..Math.Min(destination.Length, PieceBytes - within)];
                if (pieces[piece] is { } content)
                    content.AsSpan(within, part.Length).CopyTo(part);
                else
                    part.Clear();
                destination = destination[part.Length..];
                offset += part.Length;
            }
        }

        public void Write(int offset, ReadOnlySpan<byte> source)
        {
            while (!source.IsEmpty)
            {
                var (piece, within) = (offset / PieceBytes, offset % PieceBytes);
                var part = source[..Math.Min(source.Length, PieceBytes - within)];
                part.CopyTo((pieces[piece] ??= new byte[PieceBytes]).AsSpan(within));
                source = source[part.Length..];
                offset += part.Length;
            }
        }
    }
}
