using System.Buffers.Binary;
using Fabric.Drivers.Conformance;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.HisiAcc;
using Fabric.Hardware.Specs.HisiAcc;

namespace Fabric.Drivers.Tests.Conformance;

/// <summary>A VF whose guest has set up its queues, and gives them tasks.</summary>
public sealed class HisiAccConformanceTests() : CommandedVfConformance(EmulatedModels.HisiSec)
{
    private static readonly int[] Registers =
    [
        HisiAccRegister.AeqInterruptMask, HisiAccRegister.EqInterruptMask, HisiAccRegister.IfcInterruptSource, HisiAccRegister.IfcInterruptMask,
        HisiAccRegister.IfcInterruptSet, HisiAccRegister.PageSize,
    ];

    protected override async Task WorkAsync(GuestDevice guest, Random random)
    {
        await GiveAsync(guest, HisiAccMailboxCommand.EventQueue, 0x200);
        await GiveAsync(guest, HisiAccMailboxCommand.AsyncEventQueue, 0x800);
        await GiveAsync(guest, HisiAccMailboxCommand.SubmissionTable, 0);
        await GiveAsync(guest, HisiAccMailboxCommand.CompletionTable, 0x100);
        foreach (var register in Registers)
            await WriteAsync(guest, register, (uint)random.Next(16));
        await WriteAsync(guest, HisiAccRegister.VfState, (uint)HisiAccVfState.Ready);
        for (var queue = 0; queue < HisiAccPhysicalFunction.QueuesPerVf; queue++)
        {
            var doorbell = new byte[sizeof(ulong)];
            BinaryPrimitives.WriteUInt64LittleEndian(doorbell, (uint)queue | ((ulong)random.Next(1, 4) << HisiAccDoorbell.Index));
            await guest.WriteAsync(HisiAccBar.Number, HisiAccRegister.Doorbell, doorbell);
        }
    }

    protected override async Task<byte[]> ReadStateAsync(GuestDevice guest)
    {
        var seen = new List<byte>();
        foreach (var register in Registers.Append(HisiAccRegister.VfState))
            seen.AddRange(await guest.ReadAsync(HisiAccBar.Number, (ulong)register, sizeof(uint)));
        return [.. seen];
    }

    private static async Task GiveAsync(GuestDevice guest, HisiAccMailboxCommand command, ulong at)
    {
        var words = new byte[HisiAccMailbox.Bytes];
        BinaryPrimitives.WriteUInt32LittleEndian(words, (uint)command | HisiAccMailbox.Busy);
        BinaryPrimitives.WriteUInt64LittleEndian(words.AsSpan(4), GuestDevice.MemoryIova + at);
        await guest.WriteAsync(HisiAccBar.Number, HisiAccRegister.Mailbox, words);
    }

    private static Task WriteAsync(GuestDevice guest, int register, uint value)
    {
        var bytes = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return guest.WriteAsync(HisiAccBar.Number, (ulong)register, bytes);
    }
}
