using System.Buffers.Binary;
using System.Numerics;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Virtio;

/// <summary>One split virtqueue as the device sees it (VIRTIO 1.3, 2.7): where it lies, and how far the device has got with it.</summary>
internal sealed class VirtioQueue
{
    /// <summary>Bytes of the guest's that one request may have written.</summary>
    private const int MostWritten = 1 << 20;

    private static readonly byte[] Zeros = new byte[4096];

    public ushort Size { get; set; } = VirtioRing.MaxSize;

    public ushort Vector { get; set; } = VirtioBar.NoVector;

    public bool IsEnabled { get; set; }

    public ulong Descriptors { get; set; }

    public ulong DriverArea { get; set; }

    public ulong DeviceArea { get; set; }

    private ushort NextAvailable { get; set; }

    private ushort Used { get; set; }

    /// <summary>Where a legacy driver lays it: all parts one behind the other, by page (2.7.2). 0 takes it away.</summary>
    public void LayAt(uint page)
    {
        IsEnabled = page != 0;
        Descriptors = (ulong)page * VirtioLegacy.PageBytes;
        DriverArea = Descriptors + ((ulong)Size * VirtioRing.DescriptorBytes);
        const ulong within = VirtioLegacy.PageBytes - 1;
        DeviceArea = (DriverArea + VirtioRing.AvailableHeader + (2ul * Size) + 2 + within) & ~within;
    }

    /// <summary>Takes every buffer that is available, and gives it back with zeros in all that the device may write.</summary>
    /// <param name="isDue">The driver wants to be told.</param>
    /// <returns>False where memory does not answer, or holds what is no queue.</returns>
    public bool TryServe(IDmaSpace dma, out bool isDue)
    {
        isDue = false;
        Span<byte> header = stackalloc byte[VirtioRing.AvailableHeader];
        if (!dma.TryRead(DriverArea, header))
            return false;
        var wantsNone = (BinaryPrimitives.ReadUInt16LittleEndian(header) & VirtioRing.NoInterrupt) != 0;
        var index = BinaryPrimitives.ReadUInt16LittleEndian(header[2..]);
        if ((ushort)(index - NextAvailable) > Size)
            return false;
        while (NextAvailable != index)
        {
            if (!TryServeOne(dma))
                return false;
            isDue = !wantsNone;
        }

        return true;
    }

    private bool TryServeOne(IDmaSpace dma)
    {
        Span<byte> entry = stackalloc byte[VirtioRing.UsedEntryBytes];
        if (!dma.TryRead(DriverArea + VirtioRing.AvailableHeader + (2ul * (uint)(NextAvailable & (Size - 1))), entry[..2]))
            return false;
        var first = BinaryPrimitives.ReadUInt16LittleEndian(entry);
        if (!TryFill(dma, first, out var written))
            return false;
        BinaryPrimitives.WriteUInt32LittleEndian(entry, first);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], (uint)written);
        if (!dma.TryWrite(DeviceArea + VirtioRing.UsedHeader + (VirtioRing.UsedEntryBytes * (ulong)(uint)(Used & (Size - 1))), entry))
            return false;
        // The driver looks at the index first: the entry must be in memory by then.
        Thread.MemoryBarrier();
        NextAvailable++;
        Used++;
        BinaryPrimitives.WriteUInt16LittleEndian(entry, Used);
        return dma.TryWrite(DeviceArea + 2, entry[..2]);
    }

    private bool TryFill(IDmaSpace dma, ushort first, out int written)
    {
        written = 0;
        Span<byte> descriptor = stackalloc byte[VirtioRing.DescriptorBytes];
        var next = first;
        for (var length = 0; length < Size; length++)
        {
            if (next >= Size || !dma.TryRead(Descriptors + (VirtioRing.DescriptorBytes * (ulong)next), descriptor))
                return false;
            var flags = BinaryPrimitives.ReadUInt16LittleEndian(descriptor[12..]);
            if ((flags & VirtioRing.DeviceWrites) != 0)
            {
                var address = BinaryPrimitives.ReadUInt64LittleEndian(descriptor);
                var bytes = BinaryPrimitives.ReadUInt32LittleEndian(descriptor[8..]);
                if (bytes > MostWritten - written || !TryClear(dma, address, (int)bytes))
                    return false;
                written += (int)bytes;
            }

            if ((flags & VirtioRing.HasNext) == 0)
                return true;
            next = BinaryPrimitives.ReadUInt16LittleEndian(descriptor[14..]);
        }

        return false;
    }

    private static bool TryClear(IDmaSpace dma, ulong address, int bytes)
    {
        for (var at = 0; at < bytes; at += Zeros.Length)
        {
            if (!dma.TryWrite(address + (ulong)at, Zeros.AsSpan(0, Math.Min(Zeros.Length, bytes - at))))
                return false;
        }

        return true;
    }

    public void Save(Span<byte> part)
    {
        part.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(part[VirtioQueuePart.Size..], Size);
        BinaryPrimitives.WriteUInt16LittleEndian(part[VirtioQueuePart.Vector..], Vector);
        BinaryPrimitives.WriteUInt16LittleEndian(part[VirtioQueuePart.Enabled..], IsEnabled ? (ushort)1 : (ushort)0);
        BinaryPrimitives.WriteUInt16LittleEndian(part[VirtioQueuePart.NextAvailable..], NextAvailable);
        BinaryPrimitives.WriteUInt16LittleEndian(part[VirtioQueuePart.Used..], Used);
        BinaryPrimitives.WriteUInt64LittleEndian(part[VirtioQueuePart.Descriptors..], Descriptors);
        BinaryPrimitives.WriteUInt64LittleEndian(part[VirtioQueuePart.Driver..], DriverArea);
        BinaryPrimitives.WriteUInt64LittleEndian(part[VirtioQueuePart.Device..], DeviceArea);
    }

    /// <summary>Null for what no queue can be: there is one encoding of each.</summary>
    public static VirtioQueue? Load(ReadOnlySpan<byte> part)
    {
        if (part.Length != VirtioQueuePart.Bytes)
            return null;
        var queue = new VirtioQueue
        {
            Size = BinaryPrimitives.ReadUInt16LittleEndian(part[VirtioQueuePart.Size..]),
            Vector = BinaryPrimitives.ReadUInt16LittleEndian(part[VirtioQueuePart.Vector..]),
            IsEnabled = part[VirtioQueuePart.Enabled] == 1,
            NextAvailable = BinaryPrimitives.ReadUInt16LittleEndian(part[VirtioQueuePart.NextAvailable..]),
            Used = BinaryPrimitives.ReadUInt16LittleEndian(part[VirtioQueuePart.Used..]),
            Descriptors = BinaryPrimitives.ReadUInt64LittleEndian(part[VirtioQueuePart.Descriptors..]),
            DriverArea = BinaryPrimitives.ReadUInt64LittleEndian(part[VirtioQueuePart.Driver..]),
            DeviceArea = BinaryPrimitives.ReadUInt64LittleEndian(part[VirtioQueuePart.Device..]),
        };
        Span<byte> again = stackalloc byte[VirtioQueuePart.Bytes];
        queue.Save(again);
        return IsSize(queue.Size) && IsVector(queue.Vector) && part.SequenceEqual(again) ? queue : null;
    }

    public static bool IsSize(ushort size) => size <= VirtioRing.MaxSize && BitOperations.IsPow2(size);

    public static bool IsVector(ushort vector) => vector is < VirtioBar.MsixVectors or VirtioBar.NoVector;
}
