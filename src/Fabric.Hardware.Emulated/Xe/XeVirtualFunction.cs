using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Xe;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Xe;

/// <summary>
/// A virtual function of a Battlemage card: VRAM, its part of the GGTT, scratch registers, and an engine (<see cref="XeRegister"/>). Whatever it
/// does it does within an access or a command, under its clock. What its PF does about it is <see cref="XeVfControl"/>'s.
/// </summary>
public sealed class XeVirtualFunction : CommandedVirtualFunction
{
    private static readonly ConfigLayout Config = ConfigLayout.Of(
        HeaderLayout.VirtualFunction(XePhysicalFunction.FunctionIds),
        StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
        ExtendedCapabilities.Aer());

    private readonly XePhysicalFunction parent;
    private readonly XeVfMemory memory;
    private readonly XeVfControl control;
    private readonly ITimer cleanUp;
    private int firmwareStarts;

    internal XeVirtualFunction(PciAddress address, int vramBytes, XePhysicalFunction parent)
        : base(address, ModelOf(vramBytes), parent)
    {
        this.parent = parent;
        memory = new XeVfMemory(vramBytes);
        control = new XeVfControl(memory);
        cleanUp = parent.Time.CreateTimer(_ => CleanUp(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        firmwareStarts = parent.FirmwareStarts;
    }

    /// <summary>Where its PF has it.</summary>
    public XeVfState PfState
    {
        get
        {
            lock (Clock)
                return control.State;
        }
    }

    /// <summary>All that a move must carry.</summary>
    public byte[] State
    {
        get
        {
            lock (Clock)
            {
                var table = MemoryMarshal.AsBytes(memory.Ggtt.AsSpan());
                var scratch = MemoryMarshal.AsBytes(memory.Scratch.AsSpan());
                return [.. table, .. scratch, .. memory.Guc(), .. memory.Vram];
            }
        }
    }

    public override void ConnectDma(IDmaSpace? space)
    {
        // Its engine works on VRAM alone.
    }

    public override void Dispose()
    {
        cleanUp.Dispose();
        base.Dispose();
    }

    internal override EmulatedFunction Renew() => new XeVirtualFunction(Address, memory.Vram.Length, parent);

    internal static IReadOnlyList<PciBar> BarsOf(int vramBytes) =>
    [
        new(BarKind.Memory64, XeRegister.Bytes, Prefetchable: true), PciBar.None,
        new(BarKind.Memory64, (ulong)vramBytes, Prefetchable: true), PciBar.None,
        PciBar.None, PciBar.None,
    ];

    internal override VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        if (reply.Length < XeReply.Bytes)
            return new VfioError(Errno.ENOSPC, "A reply of the PF's driver has 16 bytes or more; give it room.");
        lock (Clock)
        {
            if (firmwareStarts != parent.FirmwareStarts)
            {
                firmwareStarts = parent.FirmwareStarts;
                control.LoseMigration();
            }

            var executed = control.Execute(command, reply);
            Work();
            return executed;
        }
    }

    /// <summary>Registers are as at power-on at once; VRAM and GGTT are the PF's to clear.</summary>
    private protected override void OnReset()
    {
        memory.ResetRegisters();
        control.BeginCleanUp();
        if (parent.CleanUpTime == TimeSpan.Zero)
            control.EndCleanUp();
        else
            cleanUp.Change(parent.CleanUpTime, Timeout.InfiniteTimeSpan);
    }

    private void CleanUp()
    {
        lock (Clock)
            control.EndCleanUp();
    }

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        lock (Clock)
        {
            if (region == XeBar.Vram)
                memory.Vram.AsSpan((int)offset, destination.Length).CopyTo(destination);
            else
                ReadRegisters((int)offset, destination);
        }

        return VfioResult.Ok;
    }

    /// <summary>Dropped while the VF's state goes or comes, and after an error.</summary>
    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
        {
            if (!control.TakesWrites)
                return VfioResult.Ok;
            if (region == XeBar.Vram)
                source.CopyTo(memory.Vram.AsSpan((int)offset));
            else
                WriteRegister((int)offset, source);
            Work();
        }

        return VfioResult.Ok;
    }

    private void ReadRegisters(int offset, Span<byte> destination)
    {
        destination.Clear();
        var at = offset - XeRegister.Ggtt;
        if (at >= 0)
        {
            var table = MemoryMarshal.AsBytes(memory.Ggtt.AsSpan());
            if (at < table.Length)
                table.Slice(at, Math.Min(destination.Length, table.Length - at)).CopyTo(destination);
            return;
        }

        Span<byte> page = stackalloc byte[XeRegister.Pending + sizeof(ulong)];
        page.Clear();
        MemoryMarshal.AsBytes(memory.Scratch.AsSpan()).CopyTo(page[XeRegister.Scratch..]);
        BinaryPrimitives.WriteUInt64LittleEndian(page[XeRegister.Done..], memory.Done);
        BinaryPrimitives.WriteUInt64LittleEndian(page[XeRegister.Pending..], memory.Pending);
        if (offset < page.Length)
            page.Slice(offset, Math.Min(destination.Length, page.Length - offset)).CopyTo(destination);
    }

    private void WriteRegister(int offset, ReadOnlySpan<byte> source)
    {
        if (offset == XeRegister.Doorbell && source.Length == sizeof(uint))
            memory.Pending += BinaryPrimitives.ReadUInt32LittleEndian(source);
        Overlay(MemoryMarshal.AsBytes(memory.Scratch.AsSpan()), offset - XeRegister.Scratch, source);
        Overlay(MemoryMarshal.AsBytes(memory.Ggtt.AsSpan()), offset - XeRegister.Ggtt, source);
    }

    private static void Overlay(Span<byte> registers, int at, ReadOnlySpan<byte> source)
    {
        if (at >= 0 && at < registers.Length)
            source[..Math.Min(source.Length, registers.Length - at)].CopyTo(registers[at..]);
    }

    /// <summary>The clock is held.</summary>
    private void Work()
    {
        if (control.State == XeVfState.Running)
            memory.DoJobs();
    }

    private static FunctionModel ModelOf(int vramBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vramBytes, XeBar.PageBytes);
        ArgumentOutOfRangeException.ThrowIfNotEqual(vramBytes, (int)BitOperations.RoundUpToPowerOf2((uint)vramBytes));
        return new FunctionModel(XePhysicalFunction.FunctionIds, Config)
        {
            Traits = FunctionTraits.VirtualFunction,
            Bars = BarsOf(vramBytes),
            ResetMethods = [ResetMethod.FunctionLevel],
        };
    }
}
