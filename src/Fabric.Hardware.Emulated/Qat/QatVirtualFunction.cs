using System.Buffers.Binary;
using System.Numerics;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.Qat;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Qat;

/// <summary>
/// A QuickAssist VF: banks of rings whose jobs read memory, and write it back under a key. It cannot stop to start DMA without stopping altogether:
/// suspended, it takes jobs and runs none.
/// </summary>
public sealed class QatVirtualFunction : CommandedVirtualFunction
{
    internal static readonly PciBar[] BarsOf =
    [
        new(BarKind.Memory64, QatBar.Bytes, Prefetchable: true), PciBar.None, new(BarKind.Memory64, QatBar.Bytes, Prefetchable: true), PciBar.None,
        PciBar.None, PciBar.None,
    ];

    private readonly ushort device;
    private readonly QatPhysicalFunction physical;
    private readonly Bank[] banks = new Bank[QatBank.Count];
    private uint interruptMask;
    private uint interruptSource;
    private IDmaSpace? dma;
    private bool isSuspended;

    internal QatVirtualFunction(PciAddress address, ushort device, QatPhysicalFunction parent)
        : base(address, CommandedModels.Virtual(new PciIds(QatIds.Vendor, device, QatIds.Vendor, 0, QatIds.ClassCode), BarsOf), parent) =>
        (this.device, physical) = (device, parent);

    private record struct Bank(ulong RequestIova, ulong ResponseIova, uint Entries, uint RequestTail, uint RequestHead, uint ResponseTail)
    {
        public readonly void Write(Span<byte> registers)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(registers[QatBank.RequestIova..], RequestIova);
            BinaryPrimitives.WriteUInt64LittleEndian(registers[QatBank.ResponseIova..], ResponseIova);
            BinaryPrimitives.WriteUInt32LittleEndian(registers[QatBank.Entries..], Entries);
            BinaryPrimitives.WriteUInt32LittleEndian(registers[QatBank.RequestTail..], RequestTail);
            BinaryPrimitives.WriteUInt32LittleEndian(registers[QatBank.RequestHead..], RequestHead);
            BinaryPrimitives.WriteUInt32LittleEndian(registers[QatBank.ResponseTail..], ResponseTail);
        }

        public static Bank Read(ReadOnlySpan<byte> registers) => new(
            BinaryPrimitives.ReadUInt64LittleEndian(registers[QatBank.RequestIova..]),
            BinaryPrimitives.ReadUInt64LittleEndian(registers[QatBank.ResponseIova..]),
            BinaryPrimitives.ReadUInt32LittleEndian(registers[QatBank.Entries..]),
            BinaryPrimitives.ReadUInt32LittleEndian(registers[QatBank.RequestTail..]),
            BinaryPrimitives.ReadUInt32LittleEndian(registers[QatBank.RequestHead..]),
            BinaryPrimitives.ReadUInt32LittleEndian(registers[QatBank.ResponseTail..]));

        /// <summary>Whether a bank can be like this: no more jobs wait than a ring holds, and every job that was taken is done.</summary>
        public readonly bool IsPossible =>
            IsSize(Entries) && RequestTail - RequestHead <= Entries && ResponseTail == RequestHead;
    }

    public override void ConnectDma(IDmaSpace? space)
    {
        lock (Clock)
            dma = space;
    }

    internal override EmulatedFunction Renew() => new QatVirtualFunction(Address, device, physical);

    private protected override void OnReset()
    {
        Array.Clear(banks);
        (interruptMask, interruptSource, isSuspended) = (0, 0, false);
    }

    // ---- Registers -------------------------------------------------------------------------------------------------------------------

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        lock (Clock)
        {
            Span<byte> page = stackalloc byte[QatBank.Count * QatBank.Bytes];
            page.Clear();
            if (region == QatBar.Misc)
                WriteMisc(page);
            for (var bank = 0; region == QatBar.Rings && bank < banks.Length; bank++)
                banks[bank].Write(page[(bank * QatBank.Bytes)..]);
            destination.Clear();
            if ((int)offset < page.Length)
                page.Slice((int)offset, Math.Min(destination.Length, page.Length - (int)offset)).CopyTo(destination);
        }

        return VfioResult.Ok;
    }

    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        lock (Clock)
        {
            if (region == QatBar.Misc)
                WriteMisc((int)offset, source);
            else if ((int)offset / QatBank.Bytes is var bank and < QatBank.Count)
                WriteBank(ref banks[bank], (int)offset % QatBank.Bytes, source);
            Run();
        }

        return VfioResult.Ok;
    }

    private static void WriteBank(ref Bank bank, int register, ReadOnlySpan<byte> source)
    {
        switch (register, source.Length)
        {
            case (QatBank.RequestIova, sizeof(ulong)):
                bank.RequestIova = BinaryPrimitives.ReadUInt64LittleEndian(source);
                break;
            case (QatBank.ResponseIova, sizeof(ulong)):
                bank.ResponseIova = BinaryPrimitives.ReadUInt64LittleEndian(source);
                break;
            case (QatBank.Entries, sizeof(uint)) when IsSize(BinaryPrimitives.ReadUInt32LittleEndian(source)):
                bank = bank with
                {
                    Entries = BinaryPrimitives.ReadUInt32LittleEndian(source), RequestTail = 0, RequestHead = 0, ResponseTail = 0,
                };
                break;
            case (QatBank.RequestTail, sizeof(uint)) when BinaryPrimitives.ReadUInt32LittleEndian(source) - bank.RequestHead <= bank.Entries:
                bank.RequestTail = BinaryPrimitives.ReadUInt32LittleEndian(source);
                break;
        }
    }

    private static bool IsSize(uint entries) => entries == 0 || (BitOperations.IsPow2(entries) && entries <= QatBank.MaxEntries);

    private void WriteMisc(Span<byte> registers)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(registers[QatMisc.InterruptMask..], interruptMask);
        BinaryPrimitives.WriteUInt32LittleEndian(registers[QatMisc.InterruptSource..], interruptSource);
    }

    private void WriteMisc(int register, ReadOnlySpan<byte> source)
    {
        if (source.Length != sizeof(uint))
            return;
        var value = BinaryPrimitives.ReadUInt32LittleEndian(source);
        if (register == QatMisc.InterruptMask)
            interruptMask = value;
        else if (register == QatMisc.InterruptSource)
            interruptSource &= ~value;
    }

    // ---- Jobs ------------------------------------------------------------------------------------------------------------------------

    private void Run()
    {
        for (var bank = 0; bank < banks.Length; bank++)
        {
            while (!isSuspended && MastersBus && banks[bank].RequestHead != banks[bank].RequestTail && TryRun(ref banks[bank]))
                interruptSource |= 1u << bank;
        }
    }

    /// <summary>False where the rings themselves are not to be reached: the job waits.</summary>
    private bool TryRun(ref Bank bank)
    {
        Span<byte> request = stackalloc byte[QatRequest.Bytes];
        Span<byte> response = stackalloc byte[QatResponse.Bytes];
        if (dma?.TryRead(bank.RequestIova + (bank.RequestHead % bank.Entries * QatRequest.Bytes), request) != true)
            return false;
        response.Clear();
        request[24..].CopyTo(response);
        response[8] = TryCipher(request) ? (byte)0 : (byte)1;
        if (!dma.TryWrite(bank.ResponseIova + (bank.ResponseTail % bank.Entries * QatResponse.Bytes), response))
            return false;
        (bank.RequestHead, bank.ResponseTail) = (bank.RequestHead + 1, bank.ResponseTail + 1);
        return true;
    }

    private bool TryCipher(ReadOnlySpan<byte> request)
    {
        var length = BinaryPrimitives.ReadUInt32LittleEndian(request[16..]);
        if (length is 0 or > QatRequest.MaxLength)
            return false;
        Span<byte> text = stackalloc byte[(int)length];
        if (!dma!.TryRead(BinaryPrimitives.ReadUInt64LittleEndian(request), text))
            return false;
        foreach (ref var value in text)
            value ^= request[20];
        return dma.TryWrite(BinaryPrimitives.ReadUInt64LittleEndian(request[8..]), text);
    }

    // ---- Migration -------------------------------------------------------------------------------------------------------------------

    internal override VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply)
    {
        if (command.Length < QatMigration.HeaderBytes)
            return new VfioError(Errno.EINVAL, "A command begins with its operation and length.");
        Errno status;
        byte[] answer = [];
        lock (Clock)
            status = Execute((QatOperation)BinaryPrimitives.ReadUInt32LittleEndian(command), command[QatMigration.HeaderBytes..], ref answer);
        if (reply.Length < QatMigration.HeaderBytes + answer.Length)
            return new VfioError(Errno.ENOSPC, "The reply does not fit into the room for it.");
        BinaryPrimitives.WriteUInt32LittleEndian(reply, (uint)status);
        BinaryPrimitives.WriteInt32LittleEndian(reply[4..], answer.Length);
        answer.CopyTo(reply[QatMigration.HeaderBytes..]);
        return QatMigration.HeaderBytes + answer.Length;
    }

    private Errno Execute(QatOperation operation, ReadOnlySpan<byte> input, ref byte[] answer)
    {
        switch (operation)
        {
            case QatOperation.Open:
                answer = [isSuspended ? (byte)1 : (byte)0, 0, 0, 0];
                return Errno.None;
            case QatOperation.Close:
                return Errno.None;
            case QatOperation.Suspend:
                isSuspended = true;
                return Errno.None;
            case QatOperation.Resume or QatOperation.Reset:
                isSuspended = false;
                Run();
                return Errno.None;
            case QatOperation.SaveSetup:
                answer = physical.SaveSetup();
                return Errno.None;
            case QatOperation.SaveState when isSuspended:
                answer = SaveState();
                return Errno.None;
            case QatOperation.LoadSetup:
                return physical.Check(input);
            case QatOperation.LoadState when isSuspended:
                return LoadState(input);
            case QatOperation.SaveState or QatOperation.LoadState:
                return Errno.EBUSY;
            default:
                return Errno.EOPNOTSUPP;
        }
    }

    private byte[] SaveState()
    {
        var rings = new byte[QatBank.Count * QatState.BankPayload];
        for (var bank = 0; bank < banks.Length; bank++)
            banks[bank].Write(rings.AsSpan(bank * QatState.BankPayload));
        var misc = new byte[QatState.MiscPayload];
        WriteMisc(misc);
        var state = new byte[QatMigration.StateBytes];
        physical.SaveSetup().CopyTo(state, 0);
        QatBlock.Of((QatState.Rings, rings), (QatState.Misc, misc)).CopyTo(state, QatMigration.SetupBytes);
        return state;
    }

    private Errno LoadState(ReadOnlySpan<byte> state)
    {
        if (state.Length != QatMigration.StateBytes || physical.Check(state) != Errno.None)
            return Errno.EINVAL;
        var block = state[QatMigration.SetupBytes..];
        var sections = QatBlock.Read(block, (QatState.Rings, QatBank.Count * QatState.BankPayload), (QatState.Misc, QatState.MiscPayload));
        if (sections is not [var rings, var misc])
            return Errno.EINVAL;
        var loaded = Enumerable.Range(0, QatBank.Count).Select(bank => Bank.Read(rings.AsSpan(bank * QatState.BankPayload))).ToArray();
        if (!loaded.All(static bank => bank.IsPossible))
            return Errno.EINVAL;
        loaded.CopyTo(banks, 0);
        interruptMask = BinaryPrimitives.ReadUInt32LittleEndian(misc.AsSpan(QatMisc.InterruptMask));
        interruptSource = BinaryPrimitives.ReadUInt32LittleEndian(misc.AsSpan(QatMisc.InterruptSource));
        return Errno.None;
    }
}
