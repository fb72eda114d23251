using System.Buffers.Binary;
using Fabric.Hardware.Specs.Virtio;

namespace Fabric.Hardware.Emulated.Virtio;

/// <summary>
/// All that a virtio function holds, by its three interfaces: modern registers, legacy ones, and device parts. Registers take accesses of
/// their own width and ignore others. The function's clock is held.
/// </summary>
internal sealed class VirtioRegisters(VirtioKind kind, byte[] config)
{
    private const int SavedCommon = 24;

    private VirtioQueue[] queues = NewQueues(kind);
    private byte status;
    private byte interrupt;
    private ulong driverFeatures;
    private uint deviceFeatureSelect;
    private uint driverFeatureSelect;
    private ushort configVector = VirtioBar.NoVector;
    private ushort queueSelect;

    public static int PartsBytes(VirtioKind kind, int configBytes) =>
        (VirtioPart.HeaderBytes * (6 + kind.Queues)) + 8 + 8 + SavedCommon + (VirtioQueuePart.Bytes * kind.Queues) + configBytes + 1 + 1;

    public IReadOnlyList<VirtioQueue> Queues => queues;

    public bool IsDriverOk => (status & (int)(VirtioStatus.DriverOk | VirtioStatus.NeedsReset)) == (int)VirtioStatus.DriverOk;

    private VirtioQueue? Selected => queueSelect < queues.Length ? queues[queueSelect] : null;

    public void Break() => status |= (byte)VirtioStatus.NeedsReset;

    public void Interrupt(VirtioInterrupt cause) => interrupt |= (byte)cause;

    public byte TakeInterrupt()
    {
        var taken = interrupt;
        interrupt = 0;
        return taken;
    }

    private static VirtioQueue[] NewQueues(VirtioKind kind) => [.. Enumerable.Range(0, kind.Queues).Select(static _ => new VirtioQueue())];

    // ---- The modern interface (VIRTIO 1.3, 4.1.4.3) ----------------------------------------------------------------------------------

    public void ReadCommon(int offset, Span<byte> destination)
    {
        Span<byte> page = stackalloc byte[VirtioCommon.Bytes];
        page.Clear();
        WriteCommonHead(page);
        BinaryPrimitives.WriteUInt32LittleEndian(page[VirtioCommon.DeviceFeature..], Half(kind.Features, deviceFeatureSelect));
        BinaryPrimitives.WriteUInt32LittleEndian(page[VirtioCommon.DriverFeature..], Half(driverFeatures, driverFeatureSelect));
        if (Selected is { } queue)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioCommon.QueueSize..], queue.Size);
            BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioCommon.QueueVector..], queue.Vector);
            BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioCommon.QueueEnable..], queue.IsEnabled ? (ushort)1 : (ushort)0);
            BinaryPrimitives.WriteUInt64LittleEndian(page[VirtioCommon.QueueDescriptors..], queue.Descriptors);
            BinaryPrimitives.WriteUInt64LittleEndian(page[VirtioCommon.QueueDriver..], queue.DriverArea);
            BinaryPrimitives.WriteUInt64LittleEndian(page[VirtioCommon.QueueDevice..], queue.DeviceArea);
        }

        Copy(page, offset, destination);
    }

    public void WriteCommon(int offset, ReadOnlySpan<byte> source)
    {
        switch (offset, source.Length)
        {
            case (VirtioCommon.DeviceFeatureSelect, 4):
                deviceFeatureSelect = BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
            case (VirtioCommon.DriverFeatureSelect, 4):
                driverFeatureSelect = BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
            case (VirtioCommon.DriverFeature, 4):
                TakeFeatures(driverFeatureSelect, BinaryPrimitives.ReadUInt32LittleEndian(source));
                break;
            case (VirtioCommon.ConfigVector, 2):
                configVector = VectorOf(source);
                break;
            case (VirtioCommon.Status, 1):
                TakeStatus(source[0]);
                break;
            case (VirtioCommon.QueueSelect, 2):
                queueSelect = BinaryPrimitives.ReadUInt16LittleEndian(source);
                break;
            default:
                if (Selected is { } queue)
                    WriteQueue(queue, offset, source);
                break;
        }
    }

    private static void WriteQueue(VirtioQueue queue, int offset, ReadOnlySpan<byte> source)
    {
        switch (offset, source.Length)
        {
            case (VirtioCommon.QueueSize, 2) when VirtioQueue.IsSize(BinaryPrimitives.ReadUInt16LittleEndian(source)):
                queue.Size = BinaryPrimitives.ReadUInt16LittleEndian(source);
                break;
            case (VirtioCommon.QueueVector, 2):
                queue.Vector = VectorOf(source);
                break;
            case (VirtioCommon.QueueEnable, 2):
                queue.IsEnabled |= BinaryPrimitives.ReadUInt16LittleEndian(source) == 1;
                break;
            case ( >= VirtioCommon.QueueDescriptors and < VirtioCommon.Bytes, 4) when (offset & 3) == 0:
                var shift = (offset & 4) * 8;
                var half = (ulong)BinaryPrimitives.ReadUInt32LittleEndian(source) << shift;
                WriteAddress(queue, offset & ~7, ~((ulong)uint.MaxValue << shift), half);
                break;
            case (VirtioCommon.QueueDescriptors or VirtioCommon.QueueDriver or VirtioCommon.QueueDevice, 8):
                WriteAddress(queue, offset, 0, BinaryPrimitives.ReadUInt64LittleEndian(source));
                break;
        }
    }

    private static void WriteAddress(VirtioQueue queue, int register, ulong kept, ulong written)
    {
        switch (register)
        {
            case VirtioCommon.QueueDescriptors:
                queue.Descriptors = (queue.Descriptors & kept) | written;
                break;
            case VirtioCommon.QueueDriver:
                queue.DriverArea = (queue.DriverArea & kept) | written;
                break;
            default:
                queue.DeviceArea = (queue.DeviceArea & kept) | written;
                break;
        }
    }

    /// <summary>Device configuration, by either interface. False past its end.</summary>
    public bool TryReadConfig(int offset, Span<byte> destination)
    {
        if (offset > config.Length - destination.Length)
            return false;
        config.AsSpan(offset, destination.Length).CopyTo(destination);
        return true;
    }

    public bool TryWriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        if (offset > config.Length - source.Length)
            return false;
        source.CopyTo(config.AsSpan(offset));
        return true;
    }

    // ---- The legacy interface (4.1.4.10) ---------------------------------------------------------------------------------------------

    public bool TryReadLegacy(int offset, Span<byte> destination)
    {
        Span<byte> page = stackalloc byte[VirtioLegacy.DeviceConfigAt(msixEnabled: true)];
        if (offset > page.Length - destination.Length)
            return false;
        page.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(page[VirtioLegacy.DeviceFeatures..], (uint)kind.Features);
        BinaryPrimitives.WriteUInt32LittleEndian(page[VirtioLegacy.DriverFeatures..], (uint)driverFeatures);
        BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioLegacy.QueueSelect..], queueSelect);
        page[VirtioLegacy.Status] = status;
        BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioLegacy.ConfigVector..], configVector);
        if (Selected is { } queue)
        {
            var pages = queue.IsEnabled ? (uint)(queue.Descriptors / VirtioLegacy.PageBytes) : 0;
            BinaryPrimitives.WriteUInt32LittleEndian(page[VirtioLegacy.QueuePage..], pages);
            BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioLegacy.QueueSize..], queue.Size);
            BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioLegacy.QueueVector..], queue.Vector);
        }

        if (offset <= VirtioLegacy.Interrupt && offset + destination.Length > VirtioLegacy.Interrupt)
            page[VirtioLegacy.Interrupt] = TakeInterrupt();
        page.Slice(offset, destination.Length).CopyTo(destination);
        return true;
    }

    public bool TryWriteLegacy(int offset, ReadOnlySpan<byte> source)
    {
        if (offset > VirtioLegacy.DeviceConfigAt(msixEnabled: true) - source.Length)
            return false;
        switch (offset, source.Length)
        {
            case (VirtioLegacy.DriverFeatures, 4):
                driverFeatures = BinaryPrimitives.ReadUInt32LittleEndian(source) & kind.Features;
                break;
            case (VirtioLegacy.QueuePage, 4):
                Selected?.LayAt(BinaryPrimitives.ReadUInt32LittleEndian(source));
                break;
            case (VirtioLegacy.QueueSelect, 2):
                queueSelect = BinaryPrimitives.ReadUInt16LittleEndian(source);
                break;
            case (VirtioLegacy.Status, 1):
                TakeStatus(source[0]);
                break;
            case (VirtioLegacy.ConfigVector, 2):
                configVector = VectorOf(source);
                break;
            case (VirtioLegacy.QueueVector, 2) when Selected is { } queue:
                queue.Vector = VectorOf(source);
                break;
        }

        return true;
    }

    // ---- Device parts ----------------------------------------------------------------------------------------------------------------

    /// <param name="destination"><see cref="PartsBytes"/> long.</param>
    public void Save(Span<byte> destination, bool isStopped)
    {
        Span<byte> value = stackalloc byte[VirtioQueuePart.Bytes];
        BinaryPrimitives.WriteUInt64LittleEndian(value, kind.Features);
        Put(ref destination, VirtioPartType.DeviceFeatures, value[..8]);
        BinaryPrimitives.WriteUInt64LittleEndian(value, driverFeatures);
        Put(ref destination, VirtioPartType.DriverFeatures, value[..8]);
        value.Clear();
        WriteCommonHead(value);
        Put(ref destination, VirtioPartType.CommonConfig, value[..SavedCommon]);
        for (var queue = 0; queue < queues.Length; queue++)
        {
            queues[queue].Save(value);
            Put(ref destination, VirtioPartType.Queue, value, queue);
        }

        Put(ref destination, VirtioPartType.DeviceConfig, config);
        Put(ref destination, VirtioPartType.Interrupt, [interrupt]);
        Put(ref destination, VirtioPartType.Mode, [isStopped ? VirtioAdmin.ModeStopped : (byte)0], flags: VirtioPart.Optional);
    }

    /// <summary>Null where the parts are not the whole state of such a device.</summary>
    public static VirtioRegisters? Load(VirtioKind kind, int configBytes, ReadOnlySpan<byte> parts)
    {
        var loaded = new VirtioRegisters(kind, new byte[configBytes]);
        var missing = Enumerable.Range(0, kind.Queues).Select(static queue => (VirtioPartType.Queue, queue)).Concat(
        [
            (VirtioPartType.DeviceFeatures, 0), (VirtioPartType.DriverFeatures, 0), (VirtioPartType.CommonConfig, 0),
            (VirtioPartType.DeviceConfig, 0), (VirtioPartType.Interrupt, 0),
        ]).ToHashSet();
        while (!parts.IsEmpty)
        {
            if (parts.Length < VirtioPart.HeaderBytes)
                return null;
            var length = BinaryPrimitives.ReadUInt32LittleEndian(parts[VirtioPart.Length..]);
            if (length > parts.Length - VirtioPart.HeaderBytes)
                return null;
            var header = parts[..VirtioPart.HeaderBytes];
            var value = parts.Slice(VirtioPart.HeaderBytes, (int)length);
            parts = parts[(VirtioPart.HeaderBytes + (int)length)..];
            var type = (VirtioPartType)BinaryPrimitives.ReadUInt16LittleEndian(header);
            var selector = BinaryPrimitives.ReadUInt64LittleEndian(header[VirtioPart.Selector..]);
            if ((header[VirtioPart.Flags] & VirtioPart.Optional) != 0)
                continue;
            if (selector > int.MaxValue || !missing.Remove((type, (int)selector)) || !loaded.Take(type, (int)selector, value))
                return null;
        }

        return missing.Count == 0 && (loaded.driverFeatures & ~kind.Features) == 0 ? loaded : null;
    }

    private bool Take(VirtioPartType type, int selector, ReadOnlySpan<byte> value)
    {
        switch (type)
        {
            case VirtioPartType.DeviceFeatures when value.Length == 8:
                return (BinaryPrimitives.ReadUInt64LittleEndian(value) & ~kind.Features) == 0;
            case VirtioPartType.DriverFeatures when value.Length == 8:
                driverFeatures = BinaryPrimitives.ReadUInt64LittleEndian(value);
                return true;
            case VirtioPartType.CommonConfig when value.Length == SavedCommon:
                return TakeCommonHead(value);
            case VirtioPartType.Queue when VirtioQueue.Load(value) is { } queue:
                queues[selector] = queue;
                return true;
            case VirtioPartType.DeviceConfig when value.Length == config.Length:
                value.CopyTo(config);
                return true;
            case VirtioPartType.Interrupt when value.Length == 1:
                interrupt = value[0];
                return (interrupt & ~(int)(VirtioInterrupt.Queue | VirtioInterrupt.Config)) == 0;
            default:
                return false;
        }
    }

    /// <summary>What of the common configuration is no queue's and no feature's.</summary>
    private void WriteCommonHead(Span<byte> page)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(page[VirtioCommon.DeviceFeatureSelect..], deviceFeatureSelect);
        BinaryPrimitives.WriteUInt32LittleEndian(page[VirtioCommon.DriverFeatureSelect..], driverFeatureSelect);
        BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioCommon.ConfigVector..], configVector);
        BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioCommon.Queues..], (ushort)queues.Length);
        page[VirtioCommon.Status] = status;
        BinaryPrimitives.WriteUInt16LittleEndian(page[VirtioCommon.QueueSelect..], queueSelect);
    }

    private bool TakeCommonHead(ReadOnlySpan<byte> value)
    {
        deviceFeatureSelect = BinaryPrimitives.ReadUInt32LittleEndian(value[VirtioCommon.DeviceFeatureSelect..]);
        driverFeatureSelect = BinaryPrimitives.ReadUInt32LittleEndian(value[VirtioCommon.DriverFeatureSelect..]);
        configVector = BinaryPrimitives.ReadUInt16LittleEndian(value[VirtioCommon.ConfigVector..]);
        status = value[VirtioCommon.Status];
        queueSelect = BinaryPrimitives.ReadUInt16LittleEndian(value[VirtioCommon.QueueSelect..]);
        Span<byte> again = stackalloc byte[SavedCommon];
        again.Clear();
        WriteCommonHead(again);
        return VirtioQueue.IsVector(configVector) && value.SequenceEqual(again);
    }

    private static void Put(ref Span<byte> destination, VirtioPartType type, scoped ReadOnlySpan<byte> value, int selector = 0, byte flags = 0)
    {
        destination[..VirtioPart.HeaderBytes].Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(destination, (ushort)type);
        destination[VirtioPart.Flags] = flags;
        BinaryPrimitives.WriteUInt64LittleEndian(destination[VirtioPart.Selector..], (ulong)selector);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[VirtioPart.Length..], (uint)value.Length);
        value.CopyTo(destination[VirtioPart.HeaderBytes..]);
        destination = destination[(VirtioPart.HeaderBytes + value.Length)..];
    }

    // ---- Both interfaces -------------------------------------------------------------------------------------------------------------

    /// <summary>0 resets the device; features that it has not offered are not accepted (3.1.1).</summary>
    private void TakeStatus(byte written)
    {
        if (written == 0)
            Clear();
        else if ((driverFeatures & VirtioFeature.Version1) != 0 || (written & (int)VirtioStatus.FeaturesOk) == 0)
            status = written;
        else
            status = (byte)(written & ~(int)VirtioStatus.FeaturesOk);
    }

    private void Clear()
    {
        queues = NewQueues(kind);
        (status, interrupt, driverFeatures, configVector) = (0, 0, 0, VirtioBar.NoVector);
        (deviceFeatureSelect, driverFeatureSelect, queueSelect) = (0, 0, 0);
    }

    private void TakeFeatures(uint half, uint written)
    {
        var shift = (int)(half & 1) * 32;
        if (half <= 1)
            driverFeatures = ((driverFeatures & ~((ulong)uint.MaxValue << shift)) | ((ulong)written << shift)) & kind.Features;
    }

    private static uint Half(ulong features, uint half) => half switch
    {
        0 => (uint)features,
        1 => (uint)(features >> 32),
        _ => 0,
    };

    private static ushort VectorOf(ReadOnlySpan<byte> source)
    {
        var vector = BinaryPrimitives.ReadUInt16LittleEndian(source);
        return VirtioQueue.IsVector(vector) ? vector : VirtioBar.NoVector;
    }

    private static void Copy(ReadOnlySpan<byte> page, int offset, Span<byte> destination)
    {
        destination.Clear();
        if (offset < page.Length)
            page.Slice(offset, Math.Min(destination.Length, page.Length - offset)).CopyTo(destination);
    }
}
