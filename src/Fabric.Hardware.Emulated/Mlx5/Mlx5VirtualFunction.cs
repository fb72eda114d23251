using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mlx5;

/// <summary>
/// A virtual function of a ConnectX card: memory, and a queue that works on it and tells of its work by DMA (<see cref="Mlx5Register"/>).
/// Whatever it does it does within an access or a command, under its clock. Its migration is its PF's firmware's (<see cref="Mlx5Vhca"/>).
/// </summary>
public sealed class Mlx5VirtualFunction : CommandedVirtualFunction
{
    private static readonly PciIds FunctionIds =
        new(Mlx5Ids.Vendor, Mlx5Ids.VirtualFunction, Mlx5Ids.Vendor, 1, Mlx5Ids.ClassCode);

    private static readonly ConfigLayout Config = ConfigLayout.Of(
        HeaderLayout.VirtualFunction(FunctionIds),
        StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
        ExtendedCapabilities.Aer());

    private readonly Mlx5PhysicalFunction parent;
    private readonly Mlx5Vhca vhca;
    private (int Firmware, int Driver) losses;
    private IDmaSpace? dma;

    internal Mlx5VirtualFunction(PciAddress address, int memoryBytes, Mlx5PhysicalFunction parent)
        : base(address, ModelOf(memoryBytes), parent)
    {
        this.parent = parent;
        vhca = new Mlx5Vhca(memoryBytes);
        losses = parent.Losses;
    }

    /// <summary>Bytes of its memory.</summary>
    public int MemoryBytes => vhca.Memory.Length;

    /// <summary>Both halves stand.</summary>
    public bool IsSuspended
    {
        get
        {
            lock (Clock)
                return vhca.Suspended == Mlx5Vhca.BothHalves;
        }
    }

    /// <summary>All that a move must carry: registers, then memory.</summary>
    public byte[] State
    {
        get
        {
            lock (Clock)
                return [.. MemoryMarshal.AsBytes(new ReadOnlySpan<Mlx5Registers>(in vhca.Registers)), .. vhca.Memory];
        }
    }

    // ---- Faults ----------------------------------------------------------------------------------------------------------------------

    /// <summary>The next SAVE of this kind fails, once, with a status.</summary>
    /// <param name="last">Of the last image; else of one that goes on being tracked.</param>
    public void FailNextSave(Mlx5Status status, bool last)
    {
        lock (Clock)
            vhca.Saving.Fails = (status, last);
    }

    /// <summary>The queue pair of the page tracker fails, and what it knew is lost.</summary>
    public void FailTrackerQueue()
    {
        lock (Clock)
            vhca.Tracker.Fail();
    }

    /// <summary>A new start-up set, where a migration is under way: all of it has to go again, and the driver is told (MG-26).</summary>
    public void BeginFreshStartUpSet()
    {
        lock (Clock)
            vhca.Saving.MarkAll();
        Tell(PfEvent.FreshStartUpSet);
    }

    // ---- The function ----------------------------------------------------------------------------------------------------------------

    public override void ConnectDma(IDmaSpace? space)
    {
        lock (Clock)
            dma = space;
    }

    internal override EmulatedFunction Renew() => new Mlx5VirtualFunction(Address, MemoryBytes, parent);

    internal static IReadOnlyList<PciBar> BarsOf(int memoryBytes) =>
    [
        new(BarKind.Memory64, Mlx5Register.Bytes, Prefetchable: true), PciBar.None,
        new(BarKind.Memory64, (ulong)memoryBytes, Prefetchable: true), PciBar.None,
        PciBar.None, PciBar.None,
    ];

    internal override VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        if (reply.Length < Mlx5Reply.Bytes)
            return new VfioError(Errno.ENOSPC, "A reply of firmware has 32 bytes or more; give it room.");
        lock (Clock)
        {
            var now = parent.Losses;
            if (losses.Firmware != now.Firmware)
                vhca.ForgetMigration();
            if (losses.Driver != now.Driver)
                vhca.Tracker.Drop();
            losses = now;
            var executed = vhca.Execute(command, reply);
            Work();
            return executed;
        }
    }

    private protected override ConfigEffects OnConfigWritten(int offset, ReadOnlySpan<byte> source)
    {
        Work();
        return ConfigEffects.None;
    }

    /// <summary>A page tracker is the host's, and stays.</summary>
    private protected override void OnReset() => vhca.Reset();

    /// <summary>Suspended as a responder nothing answers: reads give all ones.</summary>
    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        lock (Clock)
        {
            if (vhca.IsStanding)
                destination.Fill(0xff);
            else if (region == Mlx5Bar.Memory)
                vhca.Memory.AsSpan((int)offset, destination.Length).CopyTo(destination);
            else
                ReadRegisters((int)offset, destination);
        }

        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
        {
            if (vhca.IsStanding)
                return VfioResult.Ok;
            if (region == Mlx5Bar.Memory)
                vhca.WriteMemory((int)offset, source);
            else
                WriteRegister((int)offset, source);
            Work();
        }

        return VfioResult.Ok;
    }

    private void ReadRegisters(int offset, Span<byte> destination)
    {
        Span<byte> page = stackalloc byte[Mlx5Register.Fault + sizeof(uint)];
        page.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(page[Mlx5Register.RingIova..], vhca.Registers.RingIova);
        BinaryPrimitives.WriteUInt32LittleEndian(page[Mlx5Register.RingEntries..], vhca.Registers.RingEntries);
        BinaryPrimitives.WriteUInt64LittleEndian(page[Mlx5Register.Done..], vhca.Registers.Done);
        BinaryPrimitives.WriteUInt32LittleEndian(page[Mlx5Register.Pending..], vhca.Registers.Pending);
        BinaryPrimitives.WriteUInt32LittleEndian(page[Mlx5Register.Fault..], vhca.Registers.Fault);
        destination.Clear();
        if (offset < page.Length)
            page.Slice(offset, Math.Min(destination.Length, page.Length - offset)).CopyTo(destination);
    }

    private void WriteRegister(int offset, ReadOnlySpan<byte> source)
    {
        switch (offset, source.Length)
        {
            case (Mlx5Register.RingIova, 8):
                vhca.Registers.RingIova = BinaryPrimitives.ReadUInt64LittleEndian(source);
                break;
            case (Mlx5Register.RingEntries, 4):
                vhca.Registers.RingEntries = BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
            case (Mlx5Register.Doorbell, 4):
                vhca.Registers.Pending += BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
            case (Mlx5Register.Fault, 4):
                vhca.Registers.Fault &= ~BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
        }
    }

    /// <summary>Does what waits and can be done. The clock is held.</summary>
    private void Work()
    {
        Span<byte> completion = stackalloc byte[Mlx5Completion.Bytes];
        while (vhca.Registers is { Pending: > 0, RingEntries: > 0, Fault: 0 } && vhca.Suspended == 0 && MastersBus)
        {
            var request = vhca.Registers.Done;
            BinaryPrimitives.WriteUInt64LittleEndian(completion, request);
            BinaryPrimitives.WriteUInt64LittleEndian(completion[Mlx5Completion.Cell..], vhca.CellOf(request) + request + 1);
            var slot = vhca.Registers.RingIova + (request % vhca.Registers.RingEntries * Mlx5Completion.Bytes);
            if (dma is null || !dma.TryWrite(slot, completion))
            {
                vhca.Registers.Fault = 1;
                return;
            }

            vhca.Tracker.Mark(slot, Mlx5Completion.Bytes);
            vhca.AddToCell(request, request + 1);
            vhca.Registers.Done++;
            vhca.Registers.Pending--;
        }
    }

    private static FunctionModel ModelOf(int memoryBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(memoryBytes, Mlx5Bar.PageBytes);
        ArgumentOutOfRangeException.ThrowIfNotEqual(memoryBytes, (int)BitOperations.RoundUpToPowerOf2((uint)memoryBytes));
        return new FunctionModel(FunctionIds, Config)
        {
            Traits = FunctionTraits.VirtualFunction,
            Bars = BarsOf(memoryBytes),
            ResetMethods = [ResetMethod.FunctionLevel],
        };
    }
}
