using System.Buffers.Binary;
using Fabric.Hardware.Specs.Pds;
using Fabric.Vfio;

namespace Fabric.Drivers.Pds;

/// <summary>
/// How the card is told: commands of its admin queue, by its PF's driver (VD-PDS-1). Errors of all: ENOTCONN when that driver has gone, EIO when the
/// PF does not answer, and what firmware completes a command with.
/// </summary>
internal sealed class PdsCommands(IPfChannel channel)
{
    public VfioResult TellStatus(PdsHostStatus status) => Execute(PdsOpcode.HostVfStatus, (byte)status);

    public VfioResult Suspend(PdsSuspension what) => Execute(PdsOpcode.Suspend, (byte)what);

    public VfioResult Resume(PdsSuspension what) => Execute(PdsOpcode.Resume, (byte)what);

    /// <summary>Whether the VF stands; false while it is on its way. Errors: EINVAL where it was not told to.</summary>
    public VfioResult<bool> IsSuspended(PdsSuspension what)
    {
        var status = Execute(PdsOpcode.SuspendStatus, (byte)what);
        return status.IsOk || status.Error.Errno == Errno.EAGAIN ? status.IsOk : status.Error;
    }

    public VfioResult<ulong> GetStateSize()
    {
        Span<byte> completion = stackalloc byte[PdsAdminQueue.CompletionBytes];
        var executed = Execute(Descriptor(PdsOpcode.StateSize), completion);
        return executed.IsOk ? BinaryPrimitives.ReadUInt64LittleEndian(completion[PdsAdminQueue.Size..]) : executed.Error;
    }

    /// <summary>All of a standing VF's state. Errors also: EBUSY where it does not stand.</summary>
    public VfioResult<ReadOnlyMemory<byte>> Save()
    {
        var reply = new byte[PdsAdminQueue.CompletionBytes + PdsAdminQueue.StateBytes];
        var executed = Execute(Descriptor(PdsOpcode.Save), reply);
        return executed.IsOk ? new ReadOnlyMemory<byte>(reply, PdsAdminQueue.CompletionBytes, PdsAdminQueue.StateBytes) : executed.Error;
    }

    /// <summary>All of it or nothing. Errors also: EINVAL for a state that is none, EBUSY.</summary>
    public VfioResult Restore(ReadOnlySpan<byte> state)
    {
        Span<byte> completion = stackalloc byte[PdsAdminQueue.CompletionBytes];
        return Execute([.. Descriptor(PdsOpcode.Restore), .. state], completion);
    }

    /// <summary>Regions that the VF can watch at once.</summary>
    public VfioResult<int> GetMaxRegions()
    {
        Span<byte> completion = stackalloc byte[PdsAdminQueue.CompletionBytes];
        var executed = Execute(Descriptor(PdsOpcode.DirtyStatus), completion);
        return executed.IsOk ? completion[PdsAdminQueue.MaxRegions] : executed.Error;
    }

    /// <summary>Starts logging. Errors also: EEXIST, EOPNOTSUPP, EINVAL, E2BIG (MG-40).</summary>
    /// <param name="regions">A <see cref="PdsRegion"/> each; what the device made of them comes back in it.</param>
    public VfioResult EnableDirty(int count, Span<byte> regions)
    {
        var descriptor = Descriptor(PdsOpcode.DirtyEnable, PdsAdminQueue.SequenceAndAcknowledgement);
        descriptor[PdsAdminQueue.Regions] = (byte)count;
        var reply = new byte[PdsAdminQueue.CompletionBytes + regions.Length];
        var executed = Execute([.. descriptor, .. regions], reply);
        if (executed.IsOk)
            reply.AsSpan(PdsAdminQueue.CompletionBytes).CopyTo(regions);
        return executed;
    }

    public VfioResult DisableDirty() => Execute(PdsOpcode.DirtyDisable, 0);

    /// <param name="reply">Room for a completion, and for the bytes of the bitmap behind it.</param>
    public VfioResult ReadSequence(uint offset, Span<byte> reply)
    {
        Span<byte> descriptor = stackalloc byte[PdsAdminQueue.DescriptorBytes];
        At(descriptor, PdsOpcode.DirtyReadSequence, offset, reply.Length - PdsAdminQueue.CompletionBytes);
        return Execute(descriptor, reply);
    }

    /// <param name="command">Room for a descriptor, and behind it the bytes of the bitmap.</param>
    public VfioResult WriteAcknowledgement(uint offset, Span<byte> command)
    {
        Span<byte> completion = stackalloc byte[PdsAdminQueue.CompletionBytes];
        At(command[..PdsAdminQueue.DescriptorBytes], PdsOpcode.DirtyWriteAcknowledgement, offset, command.Length - PdsAdminQueue.DescriptorBytes);
        return Execute(command, completion);
    }

    private VfioResult Execute(PdsOpcode opcode, byte kind)
    {
        Span<byte> descriptor = stackalloc byte[PdsAdminQueue.DescriptorBytes];
        Span<byte> completion = stackalloc byte[PdsAdminQueue.CompletionBytes];
        descriptor.Clear();
        (descriptor[PdsAdminQueue.Opcode], descriptor[PdsAdminQueue.Kind]) = ((byte)opcode, kind);
        return Execute(descriptor, completion);
    }

    private VfioResult Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        var executed = channel.Execute(command, reply);
        return executed.IsOk ? Of((PdsStatus)reply[PdsAdminQueue.Status]) : executed.Error;
    }

    private static byte[] Descriptor(PdsOpcode opcode, byte kind = 0)
    {
        var descriptor = new byte[PdsAdminQueue.DescriptorBytes];
        (descriptor[PdsAdminQueue.Opcode], descriptor[PdsAdminQueue.Kind]) = ((byte)opcode, kind);
        return descriptor;
    }

    private static void At(Span<byte> descriptor, PdsOpcode opcode, uint offset, int length)
    {
        descriptor.Clear();
        descriptor[PdsAdminQueue.Opcode] = (byte)opcode;
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[PdsAdminQueue.Offset..], offset);
        BinaryPrimitives.WriteInt32LittleEndian(descriptor[PdsAdminQueue.Length..], length);
    }

    private static VfioResult Of(PdsStatus status) => status switch
    {
        PdsStatus.Success => VfioResult.Ok,
        PdsStatus.Again => VfioResult.Fail(Errno.EAGAIN, "The card's firmware is not done yet; ask again."),
        PdsStatus.Busy => VfioResult.Fail(Errno.EBUSY, "The card's firmware finds the VF running; stop it first."),
        PdsStatus.Exists => VfioResult.Fail(Errno.EEXIST, "The card logs the VF's DMA already; reset the card's firmware."),
        PdsStatus.Invalid => VfioResult.Fail(Errno.EINVAL, "The card's firmware refused a command or a state; reset the device, and start again."),
        PdsStatus.NoSpace => VfioResult.Fail(Errno.E2BIG, "The card cannot watch that much memory; give fewer or smaller ranges."),
        PdsStatus.NotSupported => VfioResult.Fail(Errno.EOPNOTSUPP, "The card's firmware cannot log DMA; update it."),
        _ => VfioResult.Fail(Errno.EIO, "The card's firmware failed; reset the device."),
    };
}
