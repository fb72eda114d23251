using System.Buffers.Binary;
using CsCheck;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Hardware.Specs.Pds;
using Fabric.Hardware.Specs.Qat;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>Cards whose PF takes commands about its VFs: whatever comes, the PF's driver answers, and one VF is no matter of another.</summary>
public sealed class CommandedCardTests
{
    public static TheoryData<string> Models =>
    [
        EmulatedModels.HisiSec, EmulatedModels.HisiSecByPf, EmulatedModels.HisiHpre, EmulatedModels.HisiZip, EmulatedModels.Pds, EmulatedModels.Qat,
        EmulatedModels.QatGen6,
    ];

    [Theory]
    [MemberData(nameof(Models))]
    public void A_host_makes_its_VFs_and_reaches_their_PFs_driver_from_each(string model)
    {
        using var zoo = Zoo.With(model);
        var core = zoo.Devices.Register(zoo.First, options: new CoreOptions(EnableSriov: true)).Value;

        Assert.Equal(3, core.WriteNumVfs("3").Value.Count);

        Assert.All(zoo.Bus.Functions.Skip(1), function =>
        {
            Assert.Equal(zoo.First.Address, function.PhysicalFunction);
            Assert.Equal(zoo.First.Ids.Device == PdsIds.PhysicalFunction ? PdsIds.VirtualFunction : zoo.First.Ids.Device + 1, function.Ids.Device);
            Assert.NotNull(function.Platform.PhysicalFunction);
            Assert.True(zoo.Devices.Register(function).Value.Open().IsOk);
        });
        ((CommandedPhysicalFunction)zoo.First).DetachDriver();
        Assert.All(zoo.Bus.Functions, static function => Assert.Null(function.Platform.PhysicalFunction));
    }

    /// <summary>Seeds are printed by CsCheck.</summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void Any_bytes_are_answered_and_no_other_VF_changes(string model) =>
        Gen.Select(Command(model), Gen.Int[0, 0x11000]).Array[1, 20].Sample(
            commands =>
            {
                using var zoo = new Zoo(new EmulatedCard(model, VirtualFunctions: 2));
                var (first, second) = (zoo.Bus.Functions[1], zoo.Bus.Functions[2]);
                Fill(second, 4);
                var before = Seen(second);
                Assert.Contains("4", before, StringComparison.Ordinal);
                foreach (var (command, room) in commands)
                {
                    var reply = new byte[room];
                    var executed = first.Platform.PhysicalFunction!.Execute(command, reply);
                    Assert.True(executed.IsOk ? executed.Value <= room : executed.Error.Errno is Errno.EINVAL or Errno.ENOSPC, executed.Error.ToString());
                }

                Assert.Equal(before, Seen(second));
                Fill(second, 8);
                Assert.Contains("8", Seen(second), StringComparison.Ordinal);
            }, iter: 60, threads: 1);

    [Theory]
    [InlineData(EmulatedModels.HisiSec, HisiAccBar.Number, HisiAccRegister.PageSize)]
    [InlineData(EmulatedModels.Pds, PdsBar.Registers, PdsRegister.RingSlots)]
    [InlineData(EmulatedModels.Pds, PdsBar.Memory, 0x100)]
    [InlineData(EmulatedModels.Qat, QatBar.Rings, QatBank.Entries)]
    [InlineData(EmulatedModels.Qat, QatBar.Misc, QatMisc.InterruptMask)]
    public void A_reset_loses_what_a_guest_wrote(string model, int bar, int register)
    {
        using var zoo = new Zoo(new EmulatedCard(model, VirtualFunctions: 1));
        var function = zoo.Bus.Functions[1];
        Assert.True(function.WriteRegion(bar, (ulong)register, new byte[] { 8, 0, 0, 0 }).IsOk);
        Assert.Equal(8u, Read(function, bar, register));

        Assert.True(function.Reset(ResetMethod.FunctionLevel).IsOk);

        Assert.Equal(0u, Read(function, bar, register));
    }

    private static Gen<byte[]> Command(string model) => model switch
    {
        EmulatedModels.Pds => Headed(PdsAdminQueue.DescriptorBytes, static opcode => (byte)opcode, 40),
        EmulatedModels.Qat or EmulatedModels.QatGen6 => Headed(QatMigration.HeaderBytes, static operation => (byte)operation, 12),
        _ => Headed(HisiAccPf.CommandBytes, static operation => (byte)operation, 7),
    };

    /// <summary>Mostly as long as a command is, and mostly one that there is.</summary>
    private static Gen<byte[]> Headed(int bytes, Func<int, byte> code, int codes) => Gen.Frequency(
        (4, Gen.Select(Gen.Int[0, codes], Gen.Byte[0, 3].Array[bytes, bytes + 70], (number, content) =>
        {
            content[0] = code(number);
            content.AsSpan(1, 3).Clear();
            return content;
        })),
        (1, Gen.Byte.Array[0, 80]));

    /// <summary>Some of these are registers that hold what is written.</summary>
    private static void Fill(IPciFunction function, byte value)
    {
        for (var register = 0UL; register < 0x40; register += sizeof(uint))
            Assert.True(function.WriteRegion(FirstBar(function), register, new byte[] { value, 0, 0, 0 }).IsOk);
    }

    private static int FirstBar(IPciFunction function) =>
        Enumerable.Range(0, ConfigOffset.BarCount).First(bar => function.Bars[bar].Size != 0);

    private static string Seen(IPciFunction function)
    {
        var bytes = new byte[function.Bars[FirstBar(function)].Size];
        Assert.True(function.ReadRegion(FirstBar(function), 0, bytes).IsOk);
        return Convert.ToHexString(bytes);
    }

    private static uint Read(IPciFunction function, int bar, int register)
    {
        var value = new byte[4];
        Assert.True(function.ReadRegion(bar, (ulong)register, value).IsOk);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }
}
