using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Pds;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Pds;

/// <summary>
/// A VF of a Pensando card: a queue whose descriptors it completes by DMA, and memory of the device; its firmware suspends, saves and restores it,
/// and logs what it writes, as the PF's driver commands.
/// </summary>
public sealed class PdsVirtualFunction : CommandedVirtualFunction
{
    internal static readonly PciBar[] BarsOf =
    [
        new(BarKind.Memory64, PdsBar.RegisterBytes, Prefetchable: true), PciBar.None, new(BarKind.Memory64, PdsBar.MemoryBytes, Prefetchable: true),
        PciBar.None, PciBar.None, PciBar.None,
    ];

    private readonly PdsPhysicalFunction physical;
    private readonly byte[] memory = new byte[PdsBar.MemoryBytes];
    private PdsRegisters registers;
    private IDmaSpace? dma;
    private PdsDirtyLog? log;

    /// <summary>What stands; null where all runs.</summary>
    private PdsSuspension? suspended;
    private long? suspendedFrom;

    internal PdsVirtualFunction(PciAddress address, PdsPhysicalFunction parent)
        : base(
            address,
            CommandedModels.Virtual(new PciIds(PdsIds.Vendor, PdsIds.VirtualFunction, PdsIds.Vendor, 0, PdsIds.ClassCode), BarsOf), parent) =>
        physical = parent;

    /// <summary>What the host last told of itself (VD-PDS-1).</summary>
    public PdsHostStatus HostStatus { get; private set; }

    /// <summary>Whether its DMA is logged.</summary>
    public bool IsLogging
    {
        get
        {
            lock (Clock)
                return log is not null;
        }
    }

    internal void ForgetMigration()
    {
        lock (Clock)
        {
            (suspended, log, HostStatus) = (null, null, PdsHostStatus.None);
            Complete();
        }
    }

    public override void ConnectDma(IDmaSpace? space)
    {
        lock (Clock)
            dma = space;
    }

    internal override EmulatedFunction Renew() => new PdsVirtualFunction(Address, physical);

    private protected override void OnReset()
    {
        (registers, suspended) = (default, null);
        Array.Clear(memory);
    }

    // ---- The guest's side ------------------------------------------------------------------------------------------------------------

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        lock (Clock)
        {
            if (region == PdsBar.Memory)
            {
                memory.AsSpan((int)offset, destination.Length).CopyTo(destination);
                return VfioResult.Ok;
            }

            Span<byte> page = stackalloc byte[PdsRegister.Consumer + sizeof(uint)];
            page.Clear();
            BinaryPrimitives.WriteUInt64LittleEndian(page[PdsRegister.RingIova..], registers.RingIova);
            BinaryPrimitives.WriteUInt32LittleEndian(page[PdsRegister.RingSlots..], registers.RingSlots);
            BinaryPrimitives.WriteUInt32LittleEndian(page[PdsRegister.Producer..], registers.Producer);
            BinaryPrimitives.WriteUInt32LittleEndian(page[PdsRegister.Consumer..], registers.Consumer);
            destination.Clear();
            if ((int)offset < page.Length)
                page.Slice((int)offset, Math.Min(destination.Length, page.Length - (int)offset)).CopyTo(destination);
        }

        return VfioResult.Ok;
    }

    /// <summary>A VF that stands in full takes nothing.</summary>
    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
        {
            if (suspended == PdsSuspension.Full)
                return VfioResult.Ok;
            if (region == PdsBar.Memory)
                source.CopyTo(memory.AsSpan((int)offset));
            else
                WriteRegister((int)offset, source);
            Complete();
        }

        return VfioResult.Ok;
    }

    private void WriteRegister(int offset, ReadOnlySpan<byte> source)
    {
        switch (offset, source.Length)
        {
            case (PdsRegister.RingIova, sizeof(ulong)):
                registers.RingIova = BinaryPrimitives.ReadUInt64LittleEndian(source);
                break;
            case (PdsRegister.RingSlots, sizeof(uint)):
                registers.RingSlots = BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
            case (PdsRegister.Producer, sizeof(uint)):
                registers.Producer = BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
        }
    }

    /// <summary>Completes what was given, where it may start DMA.</summary>
    private void Complete()
    {
        Span<byte> record = stackalloc byte[PdsCompletionRecord.Bytes];
        while (suspended is null && MastersBus && registers.RingSlots != 0 && registers.Consumer != registers.Producer)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(record, registers.Consumer);
            BinaryPrimitives.WriteUInt64LittleEndian(record[8..], registers.Consumer * PdsCompletionRecord.Factor);
            var iova = registers.RingIova + (registers.Consumer % registers.RingSlots * PdsCompletionRecord.Bytes);
            if (dma?.TryWrite(iova, record) != true)
                return;
            log?.Mark(iova, PdsCompletionRecord.Bytes);
            registers.Consumer++;
        }
    }

    // ---- Firmware's side -------------------------------------------------------------------------------------------------------------

    internal override VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        if (command.Length < PdsAdminQueue.DescriptorBytes)
            return new VfioError(Errno.EINVAL, "A command of the admin queue begins with a descriptor of 64 bytes.");
        if (reply.Length < PdsAdminQueue.CompletionBytes)
            return NoRoom;
        var completion = reply[..PdsAdminQueue.CompletionBytes];
        completion.Clear();
        var descriptor = command[..PdsAdminQueue.DescriptorBytes];
        var input = command[PdsAdminQueue.DescriptorBytes..];
        var opcode = (PdsOpcode)descriptor[PdsAdminQueue.Opcode];
        var status = physical.FailureOf(opcode);
        var written = 0;
        if (status == PdsStatus.Success)
        {
            lock (Clock)
                status = Execute(opcode, descriptor, input, completion, reply[PdsAdminQueue.CompletionBytes..], out written);
        }

        if (written < 0)
            return NoRoom;
        completion[PdsAdminQueue.Status] = (byte)status;
        return PdsAdminQueue.CompletionBytes + written;
    }

    /// <param name="written">Bytes after the completion; -1 where they do not fit.</param>
    private PdsStatus Execute(
        PdsOpcode opcode, ReadOnlySpan<byte> descriptor, ReadOnlySpan<byte> input, Span<byte> completion, Span<byte> output, out int written)
    {
        written = 0;
        switch (opcode)
        {
            case PdsOpcode.HostVfStatus:
                HostStatus = (PdsHostStatus)descriptor[PdsAdminQueue.Kind];
                return PdsStatus.Success;
            case PdsOpcode.StateSize:
                BinaryPrimitives.WriteUInt64LittleEndian(completion[PdsAdminQueue.Size..], physical.StateSize);
                return PdsStatus.Success;
            case PdsOpcode.Suspend:
                (suspended, suspendedFrom) = ((PdsSuspension)descriptor[PdsAdminQueue.Kind], physical.Time.GetTimestamp());
                return PdsStatus.Success;
            case PdsOpcode.SuspendStatus:
                return suspended is null ? PdsStatus.Invalid : IsOnItsWay ? PdsStatus.Again : PdsStatus.Success;
            case PdsOpcode.Resume:
                suspended = descriptor[PdsAdminQueue.Kind] == (byte)PdsSuspension.Full ? null : PdsSuspension.PeerToPeer;
                suspendedFrom = null;
                Complete();
                return PdsStatus.Success;
            case PdsOpcode.Save when Stands:
                if ((written = output.Length < PdsAdminQueue.StateBytes ? -1 : PdsAdminQueue.StateBytes) > 0)
                    PdsState.Write(output[..PdsAdminQueue.StateBytes], registers, memory);
                return PdsStatus.Success;
            case PdsOpcode.Restore when Stands:
                if (!PdsState.TryRead(input, out var restored, memory))
                    return PdsStatus.Invalid;
                registers = restored;
                return PdsStatus.Success;
            case PdsOpcode.Save or PdsOpcode.Restore:
                return PdsStatus.Busy;
            default:
                return ExecuteDirty(opcode, descriptor, input, completion, output, out written);
        }
    }

    private PdsStatus ExecuteDirty(
        PdsOpcode opcode, ReadOnlySpan<byte> descriptor, ReadOnlySpan<byte> input, Span<byte> completion, Span<byte> output, out int written)
    {
        written = 0;
        var (offset, length) = (
            BinaryPrimitives.ReadUInt32LittleEndian(descriptor[PdsAdminQueue.Offset..]),
            (int)Math.Min(int.MaxValue, BinaryPrimitives.ReadUInt32LittleEndian(descriptor[PdsAdminQueue.Length..])));
        switch (opcode)
        {
            case PdsOpcode.DirtyStatus:
                (completion[PdsAdminQueue.MaxRegions], completion[PdsAdminQueue.ActiveRegions]) = (physical.MaxRegions, (byte)(log?.Regions ?? 0));
                return PdsStatus.Success;
            case PdsOpcode.DirtyEnable when log is not null:
                return PdsStatus.Exists;
            case PdsOpcode.DirtyEnable when descriptor[PdsAdminQueue.Kind] != PdsAdminQueue.SequenceAndAcknowledgement:
                return PdsStatus.NotSupported;
            case PdsOpcode.DirtyEnable when descriptor[PdsAdminQueue.Regions] > physical.MaxRegions:
                return PdsStatus.NoSpace;
            case PdsOpcode.DirtyEnable:
                written = output.Length < input.Length ? -1 : input.Length;
                if (written < 0)
                    return PdsStatus.NoSpace;
                input.CopyTo(output);
                log = PdsDirtyLog.Of(descriptor[PdsAdminQueue.Regions], output[..input.Length]);
                completion[PdsAdminQueue.ActiveRegions] = (byte)(log?.Regions ?? 0);
                return log is null ? PdsStatus.Invalid : PdsStatus.Success;
            case PdsOpcode.DirtyDisable:
                log = null;
                return PdsStatus.Success;
            case PdsOpcode.DirtyReadSequence when log is not null:
                written = output.Length < length ? -1 : length;
                return written < 0 ? PdsStatus.NoSpace : log.TryRead(offset, output[..length]) ? PdsStatus.Success : PdsStatus.Invalid;
            case PdsOpcode.DirtyWriteAcknowledgement when log is not null:
                return input.Length == length && log.TryAcknowledge(offset, input) ? PdsStatus.Success : PdsStatus.Invalid;
            case PdsOpcode.DirtyReadSequence or PdsOpcode.DirtyWriteAcknowledgement:
                return PdsStatus.Invalid;
            default:
                return PdsStatus.Opcode;
        }
    }

    private bool IsOnItsWay => suspendedFrom is { } from && physical.Time.GetElapsedTime(from) < physical.SuspendTime;

    private bool Stands => suspended == PdsSuspension.Full && !IsOnItsWay;

    private static VfioError NoRoom => new(Errno.ENOSPC, "The reply does not fit into the room for it.");
}
