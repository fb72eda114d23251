using System.Buffers.Binary;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Virtio;

/// <summary>
/// What a VF's PF is told about it: administration commands through the PF's driver. Knows nothing of the uAPI. Legacy access and a migration
/// stream come from different threads; here they take turns. Errors of all: ENOTCONN without the PF's driver, the errno that is the status of the
/// reply, EIO for a reply that is none.
/// </summary>
internal sealed class VirtioCommands(IPfChannel channel)
{
    /// <summary>One object of each kind is enough, as one stream is open at a time.</summary>
    private const uint GettingId = 1;
    private const uint SettingId = 2;

    private readonly Lock turn = new();

    /// <summary>Commands that the PF takes, a bit for each (<see cref="VirtioAdmin.Bit"/>).</summary>
    public VfioResult<ulong> List()
    {
        Span<byte> list = stackalloc byte[sizeof(ulong)];
        var listed = Query(VirtioOpcode.ListQuery, [], list);
        return listed.IsOk ? BinaryPrimitives.ReadUInt64LittleEndian(list) : listed.Error;
    }

    // ---- Device parts ----------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// Makes the object by which parts are read or written; one that a driver before this one has left goes first, and that there is none is no
    /// fault.
    /// </summary>
    public VfioResult Create(VirtioObjectFor use)
    {
        Destroy(use);
        Span<byte> data = stackalloc byte[VirtioAdmin.CreateBytes];
        data.Clear();
        PutObject(data, use);
        data[VirtioAdmin.CreateFor] = (byte)use;
        return Tell(VirtioOpcode.CreateObject, data);
    }

    public VfioResult Destroy(VirtioObjectFor use)
    {
        Span<byte> data = stackalloc byte[VirtioAdmin.ObjectBytes];
        data.Clear();
        PutObject(data, use);
        return Tell(VirtioOpcode.DestroyObject, data);
    }

    /// <summary>Bytes of all parts as they are now. Errors: EINVAL where there are none.</summary>
    public VfioResult<int> GetSize()
    {
        Span<byte> size = stackalloc byte[sizeof(ulong)];
        var got = Query(VirtioOpcode.GetPartsMetadata, Of(VirtioAdmin.MetadataSize), size);
        if (!got.IsOk)
            return got.Error;
        var bytes = BinaryPrimitives.ReadUInt32LittleEndian(size);
        return bytes is > 0 and <= VirtioStreamFormat.MaxRecord
            ? (int)bytes
            : new VfioError(Errno.EINVAL, "The device says that it has no parts, or more than a device can have; reset its PF.");
    }

    public VfioResult<byte[]> GetParts()
    {
        var size = GetSize();
        if (!size.IsOk)
            return size.Error;
        var parts = new byte[size.Value];
        var got = Query(VirtioOpcode.GetParts, Of(VirtioAdmin.AllParts), parts);
        return got.IsOk ? parts : got.Error;
    }

    /// <summary>The device becomes what the parts say, or stays as it was. Errors: EINVAL for what no such device can be.</summary>
    public VfioResult SetParts(ReadOnlySpan<byte> parts)
    {
        var data = new byte[VirtioAdmin.ObjectBytes + parts.Length];
        PutObject(data, VirtioObjectFor.Setting);
        parts.CopyTo(data.AsSpan(VirtioAdmin.ObjectBytes));
        return Tell(VirtioOpcode.SetParts, data);
    }

    public VfioResult SetMode(bool stopped) => Tell(VirtioOpcode.SetDeviceMode, [stopped ? VirtioAdmin.ModeStopped : (byte)0]);

    /// <summary>Whether it was told to stop, and not to go on since.</summary>
    public VfioResult<bool> IsStopped()
    {
        var created = Create(VirtioObjectFor.Getting);
        if (!created.IsOk)
            return created.Error;
        var parts = GetParts();
        Destroy(VirtioObjectFor.Getting);
        return parts.IsOk ? VirtioStreamFormat.SaysStopped(parts.Value) : parts.Error;
    }

    // ---- Legacy access ---------------------------------------------------------------------------------------------------------------

    /// <summary>Where in the VF's own BARs a legacy notification can be written; null where it must be told by <see cref="WriteLegacy"/>.</summary>
    public (int Bar, ulong Offset)? FindNotify()
    {
        Span<byte> infos = stackalloc byte[VirtioAdmin.NotifyInfoBytes * VirtioAdmin.NotifyInfos];
        if (!Query(VirtioOpcode.GetLegacyNotifyInfo, [], infos).IsOk)
            return null;
        for (; !infos.IsEmpty && infos[0] != 0; infos = infos[VirtioAdmin.NotifyInfoBytes..])
        {
            if (infos[0] == VirtioAdmin.NotifyInMember && infos[1] < ConfigOffset.BarCount)
                return (infos[1], BinaryPrimitives.ReadUInt64LittleEndian(infos[8..]));
        }

        return null;
    }

    /// <summary>Errors: EINVAL where no register is.</summary>
    public VfioResult ReadLegacy(bool common, byte offset, Span<byte> destination) =>
        Query(common ? VirtioOpcode.ReadLegacyCommon : VirtioOpcode.ReadLegacyDevice, [offset], destination);

    /// <summary>Errors: EINVAL where no register is.</summary>
    public VfioResult WriteLegacy(bool common, byte offset, ReadOnlySpan<byte> source)
    {
        Span<byte> data = stackalloc byte[VirtioAdmin.LegacyWriteBytes + source.Length];
        data.Clear();
        data[0] = offset;
        source.CopyTo(data[VirtioAdmin.LegacyWriteBytes..]);
        return Tell(common ? VirtioOpcode.WriteLegacyCommon : VirtioOpcode.WriteLegacyDevice, data);
    }

    // ---- Bytes -----------------------------------------------------------------------------------------------------------------------

    private static void PutObject(Span<byte> data, VirtioObjectFor use)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(data, VirtioAdmin.DeviceParts);
        BinaryPrimitives.WriteUInt32LittleEndian(data[4..], use == VirtioObjectFor.Getting ? GettingId : SettingId);
    }

    private static byte[] Of(byte what)
    {
        var data = new byte[VirtioAdmin.QueryBytes];
        PutObject(data, VirtioObjectFor.Getting);
        data[VirtioAdmin.ObjectBytes] = what;
        return data;
    }

    private VfioResult Tell(VirtioOpcode opcode, ReadOnlySpan<byte> data) => Query(opcode, data, []);

    /// <summary>Gives a command. Its result is as long as the destination, or it is none.</summary>
    private VfioResult Query(VirtioOpcode opcode, ReadOnlySpan<byte> data, Span<byte> destination)
    {
        var command = new byte[VirtioAdmin.HeaderBytes + data.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(command, (ushort)opcode);
        data.CopyTo(command.AsSpan(VirtioAdmin.HeaderBytes));
        var reply = new byte[VirtioAdmin.StatusBytes + destination.Length];
        VfioResult<int> executed;
        lock (turn)
            executed = channel.Execute(command, reply);
        if (!executed.IsOk)
            return executed.Error;
        if (executed.Value >= VirtioAdmin.StatusBytes && BinaryPrimitives.ReadUInt16LittleEndian(reply) is var status and not 0)
            return Refusal(status);
        if (executed.Value != reply.Length)
            return VfioResult.Fail(Errno.EIO, "The PF's reply is not what the command asks for; reset the PF.");
        reply.AsSpan(VirtioAdmin.StatusBytes).CopyTo(destination);
        return VfioResult.Ok;
    }

    /// <summary>Statuses have Linux's numbers (VIRTIO 1.3, 2.12.1).</summary>
    private static VfioResult Refusal(ushort status) => (Errno)status switch
    {
        Errno.EAGAIN => VfioResult.Fail(Errno.EAGAIN, "The virtio device cannot do this now; ask again."),
        Errno.ENOMEM => VfioResult.Fail(Errno.ENOMEM, "The virtio device has no memory left for this; close other streams, and ask again."),
        Errno.EBUSY => VfioResult.Fail(Errno.EBUSY, "The virtio device is busy; ask again."),
        Errno.EINVAL => VfioResult.Fail(Errno.EINVAL, "The virtio device refuses this; look at what it was asked for, and reset it."),
        Errno.ENOSPC => VfioResult.Fail(Errno.ENOSPC, "The virtio device has as many objects as it can; close other streams, or restart its PF."),
        _ => VfioResult.Fail(Errno.EIO, "The virtio device gives a status that there is not; reset its PF."),
    };
}
