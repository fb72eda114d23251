using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Virtio;

/// <summary>
/// A virtual function of a virtio card: the modern interface in BAR 2, queues in its guest's memory, and all that its PF's administration
/// commands do with it (<see cref="VirtioAdmin"/>). A queue is served within the access that notifies it.
/// </summary>
public sealed class VirtioVirtualFunction : CommandedVirtualFunction
{
    internal static readonly PciBar[] FunctionBars =
        [PciBar.None, PciBar.None, new(BarKind.Memory64, VirtioBar.Bytes, Prefetchable: true), PciBar.None, PciBar.None, PciBar.None];

    private readonly VirtioPhysicalFunction physical;
    private readonly VirtioKind kind;
    private readonly Dictionary<uint, VirtioObjectFor> objects = [];
    private VirtioRegisters registers;
    private IDmaSpace? dma;
    private bool isStopped;
    private int objectsOf;

    internal VirtioVirtualFunction(PciAddress address, VirtioKind kind, VirtioPhysicalFunction parent)
        : base(address, ModelOf(kind), parent)
    {
        (physical, this.kind) = (parent, kind);
        registers = PowerOn();
    }

    /// <summary>A command that its firmware refuses, and with what; for tests.</summary>
    public (VirtioOpcode Opcode, Errno Status)? Refuses { get; set; }

    /// <summary>It leaves its queues alone.</summary>
    public bool IsStopped
    {
        get
        {
            lock (Clock)
                return isStopped;
        }
    }

    /// <summary>Objects that its firmware holds for it.</summary>
    public int Objects
    {
        get
        {
            lock (Clock)
                return Held.Count;
        }
    }

    /// <summary>What a restart of the firmware has left of the objects. The clock is held.</summary>
    private Dictionary<uint, VirtioObjectFor> Held
    {
        get
        {
            if (objectsOf != physical.FirmwareRestarts)
            {
                objectsOf = physical.FirmwareRestarts;
                objects.Clear();
            }

            return objects;
        }
    }

    private int ConfigBytes => kind.ConfigOf(Address).Length;

    public override void ConnectDma(IDmaSpace? space)
    {
        lock (Clock)
            dma = space;
    }

    internal override EmulatedFunction Renew() => new VirtioVirtualFunction(Address, kind, physical);

    private protected override void OnReset() => (registers, isStopped) = (PowerOn(), false);

    private VirtioRegisters PowerOn() => new(kind, kind.ConfigOf(Address));

    private static FunctionModel ModelOf(VirtioKind kind) => new(
        kind.Ids,
        ConfigLayout.Of(
            [.. HeaderLayout.VirtualFunction(kind.Ids), new RegisterRow(ConfigOffset.Revision, 1, VirtioIds.ModernRevision)],
            [
                StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
                StandardCapabilities.Msix(VirtioBar.MsixVectors, VirtioBar.Modern, VirtioBar.MsixTable, VirtioBar.MsixPending),
                .. VirtioCapabilities.Of(kind.ConfigOf(default).Length),
                ExtendedCapabilities.Aer(),
            ]))
    {
        Traits = FunctionTraits.VirtualFunction,
        Bars = FunctionBars,
        ResetMethods = [ResetMethod.FunctionLevel],
    };

    // ---- The guest's -----------------------------------------------------------------------------------------------------------------

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        lock (Clock)
        {
            destination.Clear();
            switch ((int)offset)
            {
                case >= VirtioBar.MsixTable:
                    Memory!.Read(region, offset, destination);
                    break;
                case < VirtioBar.Interrupt:
                    registers.ReadCommon((int)offset, destination);
                    break;
                case VirtioBar.Interrupt:
                    destination[0] = registers.TakeInterrupt();
                    break;
                case >= VirtioBar.Device and < VirtioBar.Notify:
                    registers.TryReadConfig((int)offset - VirtioBar.Device, destination);
                    break;
            }
        }

        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
        {
            switch ((int)offset)
            {
                case >= VirtioBar.MsixTable:
                    Memory!.Write(region, offset, source);
                    break;
                case < VirtioBar.Interrupt:
                    registers.WriteCommon((int)offset, source);
                    break;
                case >= VirtioBar.Device and < VirtioBar.Notify:
                    registers.TryWriteConfig((int)offset - VirtioBar.Device, source);
                    break;
            }
        }

        if ((int)offset is >= VirtioBar.Notify and < VirtioBar.MsixTable && source.Length == sizeof(ushort))
            Serve(BinaryPrimitives.ReadUInt16LittleEndian(source));
        return VfioResult.Ok;
    }

    /// <summary>Serves a queue, and sends its message with the clock free.</summary>
    private void Serve(int number)
    {
        ushort? vector;
        lock (Clock)
            vector = ServeHeld(number);
        if (vector is { } due)
            SendMessage(due);
    }

    private ushort? ServeHeld(int number)
    {
        if (isStopped || !MastersBus || !registers.IsDriverOk || dma is null || number < kind.FirstServed || number >= kind.Queues)
            return null;
        var queue = registers.Queues[number];
        if (!queue.IsEnabled)
            return null;
        if (!queue.TryServe(dma, out var isDue))
            registers.Break();
        if (!isDue)
            return null;
        registers.Interrupt(VirtioInterrupt.Queue);
        return queue.Vector == VirtioBar.NoVector ? null : queue.Vector;
    }

    // ---- Its PF's commands -----------------------------------------------------------------------------------------------------------

    internal override VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        if (reply.Length < VirtioAdmin.StatusBytes)
            return new VfioError(Errno.ENOSPC, "A reply has a status of 8 bytes at least.");
        reply.Clear();
        var result = reply[VirtioAdmin.StatusBytes..];
        var written = 0;
        var status = command.Length < VirtioAdmin.HeaderBytes
            ? Errno.EINVAL
            : Execute((VirtioOpcode)BinaryPrimitives.ReadUInt16LittleEndian(command), command[VirtioAdmin.HeaderBytes..], result, out written);
        BinaryPrimitives.WriteUInt16LittleEndian(reply, (ushort)status);
        return VirtioAdmin.StatusBytes + (status == Errno.None ? written : 0);
    }

    /// <summary>The status of a command. A firmware that does not know one has no other word for it than EINVAL.</summary>
    private Errno Execute(VirtioOpcode opcode, ReadOnlySpan<byte> data, Span<byte> result, out int written)
    {
        written = 0;
        if ((int)opcode > 63 || (physical.Commands & VirtioAdmin.Bit(opcode)) == 0)
            return Errno.EINVAL;
        if (Refuses is { } refused && refused.Opcode == opcode)
            return refused.Status;
        switch (opcode)
        {
            case VirtioOpcode.ListQuery when result.Length >= sizeof(ulong):
                BinaryPrimitives.WriteUInt64LittleEndian(result, physical.Commands);
                written = sizeof(ulong);
                return Errno.None;
            case VirtioOpcode.GetLegacyNotifyInfo when result.Length >= VirtioAdmin.NotifyInfoBytes * VirtioAdmin.NotifyInfos:
                (result[0], result[1]) = (VirtioAdmin.NotifyInMember, VirtioBar.Modern);
                BinaryPrimitives.WriteUInt64LittleEndian(result[8..], VirtioBar.Notify);
                written = VirtioAdmin.NotifyInfoBytes * VirtioAdmin.NotifyInfos;
                return Errno.None;
            case VirtioOpcode.ReadLegacyCommon or VirtioOpcode.ReadLegacyDevice when data.Length == 1:
                written = result.Length;
                return ReadLegacy(opcode == VirtioOpcode.ReadLegacyCommon, data[0], result);
            case VirtioOpcode.WriteLegacyCommon or VirtioOpcode.WriteLegacyDevice when data.Length > VirtioAdmin.LegacyWriteBytes:
                return WriteLegacy(opcode == VirtioOpcode.WriteLegacyCommon, data[0], data[VirtioAdmin.LegacyWriteBytes..]);
            case VirtioOpcode.SetDeviceMode when data.Length == 1:
                SetMode((data[0] & VirtioAdmin.ModeStopped) != 0);
                return Errno.None;
            default:
                return data.Length < VirtioAdmin.ObjectBytes || BinaryPrimitives.ReadUInt16LittleEndian(data) != VirtioAdmin.DeviceParts
                    ? Errno.EINVAL
                    : WithObject(opcode, BinaryPrimitives.ReadUInt32LittleEndian(data[4..]), data[VirtioAdmin.ObjectBytes..], result, out written);
        }
    }

    private Errno ReadLegacy(bool common, int offset, Span<byte> result)
    {
        lock (Clock)
            return (common ? registers.TryReadLegacy(offset, result) : registers.TryReadConfig(offset, result)) ? Errno.None : Errno.EINVAL;
    }

    private Errno WriteLegacy(bool common, int offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
        {
            if (!(common ? registers.TryWriteLegacy(offset, source) : registers.TryWriteConfig(offset, source)))
                return Errno.EINVAL;
        }

        if (common && offset == VirtioLegacy.QueueNotify && source.Length == sizeof(ushort))
            Serve(BinaryPrimitives.ReadUInt16LittleEndian(source));
        return Errno.None;
    }

    /// <summary>One that goes on takes up what its queues hold by now.</summary>
    private void SetMode(bool stopped)
    {
        lock (Clock)
            isStopped = stopped;
        for (var queue = 0; !stopped && queue < kind.Queues; queue++)
            Serve(queue);
    }

    private Errno WithObject(VirtioOpcode opcode, uint id, ReadOnlySpan<byte> data, Span<byte> result, out int written)
    {
        written = 0;
        lock (Clock)
        {
            var holds = Held.TryGetValue(id, out var isFor);
            switch (opcode)
            {
                case VirtioOpcode.CreateObject when !holds && data.Length == VirtioAdmin.CreateBytes - VirtioAdmin.ObjectBytes:
                    var wanted = (VirtioObjectFor)data[VirtioAdmin.CreateFor - VirtioAdmin.ObjectBytes];
                    if (!Enum.IsDefined(wanted))
                        return Errno.EINVAL;
                    if (Held.ContainsValue(wanted))
                        return Errno.ENOSPC;
                    Held.Add(id, wanted);
                    return Errno.None;
                case VirtioOpcode.DestroyObject when holds:
                    Held.Remove(id);
                    return Errno.None;
                case VirtioOpcode.GetPartsMetadata when holds && isFor == VirtioObjectFor.Getting && data is [VirtioAdmin.MetadataSize, ..] &&
                    result.Length >= sizeof(ulong):
                    BinaryPrimitives.WriteInt32LittleEndian(result, PartsBytes);
                    written = sizeof(ulong);
                    return Errno.None;
                case VirtioOpcode.GetParts when holds && isFor == VirtioObjectFor.Getting && data is [VirtioAdmin.AllParts, ..]:
                    if (result.Length < PartsBytes)
                        return Errno.ENOSPC;
                    registers.Save(result[..PartsBytes], isStopped);
                    written = PartsBytes;
                    return Errno.None;
                case VirtioOpcode.SetParts when holds && isFor == VirtioObjectFor.Setting && isStopped:
                    if (VirtioRegisters.Load(kind, ConfigBytes, data) is not { } loaded)
                        return Errno.EINVAL;
                    registers = loaded;
                    return Errno.None;
                default:
                    return Errno.EINVAL;
            }
        }
    }

    private int PartsBytes => VirtioRegisters.PartsBytes(kind, ConfigBytes);
}
