using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Virtio;
using Fabric.Hardware.Specs.Virtio;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Emulated.Tests.Virtio;

/// <summary>A virtio network card under a core: its queue in its holder's memory, both its interfaces, its PF's commands.</summary>
public sealed class VirtioTests : IDisposable
{
    private const int Descriptors = 0x1000;
    private const int Available = 0x2000;
    private const int Used = 0x3000;

    private readonly Zoo zoo = new(new EmulatedCard(EmulatedModels.VirtioNet, VirtualFunctions: 2));
    private readonly HolderMemory memory = new(1 << 16);
    private readonly VfioPciCore core;

    public VirtioTests()
    {
        core = zoo.Open(Function);
        Assert.True(core.MapDma(0, memory).IsOk);
        core.WriteCommand(PciCommand.BusMaster);
    }

    private VirtioPhysicalFunction Physical => (VirtioPhysicalFunction)zoo.First;

    private VirtioVirtualFunction Function => (VirtioVirtualFunction)zoo.Bus.Functions[1];

    public void Dispose() => zoo.Dispose();

    [Fact]
    public void A_request_is_served_when_it_is_notified_and_its_message_sent()
    {
        var counter = new Counter();
        Assert.True(core.SetIrqs(new SetIrqs(
            (uint)IrqIndex.Msix, 1, 1, IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventfd, Events: new[] { EventRef.Of(counter) })).IsDone);
        SetUp();
        MakeAvailable(16);

        Assert.Equal((0, 0), (UsedIndex, counter.Signals));
        Notify();

        Assert.Equal((1, 1, 16), (UsedIndex, counter.Signals, BinaryPrimitives.ReadInt32LittleEndian(memory.Bytes.AsSpan(Used + 8))));
        Assert.All(memory.Bytes[0x4000..0x4010], written => Assert.Equal(0, written));
        Assert.Equal((1u, 0u), (Read(VirtioBar.Interrupt, 1), Read(VirtioBar.Interrupt, 1)));
    }

    [Theory]
    [InlineData("bus mastering")]
    [InlineData("DRIVER_OK")]
    [InlineData("its queue")]
    public void Nothing_is_served_without(string missing)
    {
        SetUp();
        MakeAvailable(16);
        if (missing == "bus mastering")
            core.WriteCommand(PciCommand.None);
        else
            Write(VirtioCommon.Status, 1, missing == "DRIVER_OK" ? (uint)VirtioStatus.Driver : 0);

        Notify();

        Assert.Equal(0, UsedIndex);
    }

    [Fact]
    public void What_is_notified_while_it_is_stopped_is_served_when_it_goes_on()
    {
        SetUp();
        Assert.Equal(Errno.None, Command(VirtioOpcode.SetDeviceMode, [1]));
        MakeAvailable(16);
        Notify();
        Assert.Equal(0, UsedIndex);

        Assert.Equal(Errno.None, Command(VirtioOpcode.SetDeviceMode, [0]));

        Assert.Equal(1, UsedIndex);
    }

    [Theory]
    [InlineData(uint.MaxValue)]
    [InlineData((1u << 20) + 1)]
    [InlineData(0xd000u)]
    public void What_is_no_request_breaks_the_device_until_it_is_reset(uint length)
    {
        SetUp();
        MakeAvailable(length);

        Notify();

        Assert.Equal((0, (uint)VirtioStatus.NeedsReset), (UsedIndex, Read(VirtioCommon.Status, 1) & (uint)VirtioStatus.NeedsReset));
        Write(VirtioCommon.Status, 1, 0);
        memory.Bytes.AsSpan(Available, 4).Clear();
        SetUp();
        MakeAvailable(16);
        Notify();
        Assert.Equal(1, UsedIndex);
    }

    [Fact]
    public void A_chain_that_never_ends_breaks_the_device_and_not_its_host()
    {
        SetUp();
        MakeAvailable(16);
        BinaryPrimitives.WriteUInt16LittleEndian(memory.Bytes.AsSpan(Descriptors + 12), VirtioRing.HasNext | VirtioRing.DeviceWrites);

        Notify();

        Assert.Equal((uint)VirtioStatus.NeedsReset, Read(VirtioCommon.Status, 1) & (uint)VirtioStatus.NeedsReset);
    }

    [Fact]
    public void Features_that_it_has_not_offered_are_not_taken()
    {
        Write(VirtioCommon.DriverFeatureSelect, 4, 0);
        Write(VirtioCommon.DriverFeature, 4, uint.MaxValue);
        Assert.Equal((uint)(VirtioFeature.NetMac | VirtioFeature.NetStatus), Read(VirtioCommon.DriverFeature, 4));
        Write(VirtioCommon.Status, 1, (uint)VirtioStatus.FeaturesOk);
        Assert.Equal(0u, Read(VirtioCommon.Status, 1));
    }

    [Fact]
    public void Each_VF_has_an_address_of_its_own()
    {
        var other = zoo.Open(zoo.Bus.Functions[2]);
        Assert.NotEqual(Read(VirtioBar.Device + 2, 4), other.Read32(VirtioBar.Modern, VirtioBar.Device + 2));
    }

    // ---- Commands --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void There_is_one_object_of_each_kind_until_it_is_destroyed_or_the_firmware_restarts()
    {
        Assert.Equal((Errno.None, Errno.EINVAL, Errno.ENOSPC), (Create(1, 0), Create(1, 1), Create(2, 0)));
        Assert.Equal(Errno.None, Create(2, 1));
        Assert.True(core.Reset().IsOk);
        Assert.Equal(2, Function.Objects);
        Assert.Equal((Errno.None, Errno.EINVAL), (Command(VirtioOpcode.DestroyObject, Object(1)), Command(VirtioOpcode.DestroyObject, Object(1))));
        Physical.RestartFirmware();
        Assert.Equal(0, Function.Objects);
    }

    [Fact]
    public void Parts_are_set_by_their_own_object_of_a_stopped_device_whole_or_not_at_all()
    {
        SetUp();
        Create(1, 0);
        Create(2, 1);
        var parts = Parts();
        Assert.Equal(Errno.EINVAL, Command(VirtioOpcode.SetParts, [.. Object(2), .. parts]));
        Command(VirtioOpcode.SetDeviceMode, [1]);
        Assert.Equal(Errno.EINVAL, Command(VirtioOpcode.SetParts, [.. Object(1), .. parts]));
        Write(VirtioCommon.Status, 1, 0);
        for (var cut = 0; cut < parts.Length - 17; cut++)
            Assert.Equal(Errno.EINVAL, Command(VirtioOpcode.SetParts, [.. Object(2), .. parts[..cut]]));
        Assert.Equal(0u, Read(VirtioCommon.Status, 1));
        Assert.Equal(Errno.None, Command(VirtioOpcode.SetParts, [.. Object(2), .. parts]));
        Assert.Equal(15u, Read(VirtioCommon.Status, 1));
        // What it does not know and is optional it passes over.
        Assert.Equal(Errno.None, Command(VirtioOpcode.SetParts, [.. Object(2), .. parts, 0xff, 0x03, 1, 0, .. new byte[8], 2, 0, 0, 0, 8, 9]));
        Assert.Equal(Errno.EINVAL, Command(VirtioOpcode.SetParts, [.. Object(2), .. parts, 0xff, 0x03, 0, 0, .. new byte[8], 2, 0, 0, 0, 8, 9]));
    }

    [Fact]
    public void A_reset_of_the_VF_is_power_on_and_it_runs()
    {
        SetUp();
        Command(VirtioOpcode.SetDeviceMode, [1]);

        Assert.True(core.Reset().IsOk);

        Assert.Equal((0u, false), (Read(VirtioCommon.Status, 1), Function.IsStopped));
    }

    [Theory]
    [InlineData(VirtioOpcode.GetParts)]
    [InlineData(VirtioOpcode.SetDeviceMode)]
    [InlineData((VirtioOpcode)0x3f)]
    [InlineData((VirtioOpcode)0xffff)]
    public void A_command_that_it_does_not_take_or_that_is_short_is_EINVAL(VirtioOpcode opcode)
    {
        Physical.Commands &= ~VirtioAdmin.Bit(VirtioOpcode.SetDeviceMode);
        Assert.Equal((Errno.EINVAL, Errno.EINVAL), (Command(opcode, []), Command(opcode, [0])));
        var reply = new byte[8];
        Assert.Equal(8, Function.Platform.PhysicalFunction!.Execute([1], reply).Value);
        Assert.Equal((int)Errno.EINVAL, BinaryPrimitives.ReadUInt16LittleEndian(reply));
    }

    // ---- A guest ---------------------------------------------------------------------------------------------------------------------

    private int UsedIndex => BinaryPrimitives.ReadUInt16LittleEndian(memory.Bytes.AsSpan(Used + 2));

    private void SetUp()
    {
        Write(VirtioCommon.DriverFeatureSelect, 4, 1);
        Write(VirtioCommon.DriverFeature, 4, 1);
        Write(VirtioCommon.Status, 1, 11);
        Write(VirtioCommon.QueueSelect, 2, 1);
        Write(VirtioCommon.QueueSize, 2, 8);
        Write(VirtioCommon.QueueVector, 2, 1);
        Write(VirtioCommon.QueueDescriptors, 4, Descriptors);
        Write(VirtioCommon.QueueDriver, 4, Available);
        Write(VirtioCommon.QueueDevice, 4, Used);
        Write(VirtioCommon.QueueEnable, 2, 1);
        Write(VirtioCommon.Status, 1, 15);
    }

    private void MakeAvailable(uint length)
    {
        var descriptor = memory.Bytes.AsSpan(Descriptors);
        BinaryPrimitives.WriteUInt64LittleEndian(descriptor, 0x4000);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], length);
        BinaryPrimitives.WriteUInt16LittleEndian(descriptor[12..], VirtioRing.DeviceWrites);
        memory.Bytes.AsSpan(0x4000, 16).Fill(0xee);
        memory.Bytes[Available + 2]++;
    }

    private void Notify() => Write(VirtioBar.Notify, 2, 1);

    private void Write(int offset, int length, uint value) =>
        Assert.Equal(length, core.Write(VirtioBar.Modern, (ulong)offset, BitConverter.GetBytes(value).AsSpan(0, length)).Value);

    private uint Read(int offset, int length)
    {
        var value = new byte[4];
        Assert.Equal(length, core.Read(VirtioBar.Modern, (ulong)offset, value.AsSpan(0, length)).Value);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }

    private static byte[] Object(byte id) => [0, 0, 0, 0, id, 0, 0, 0];

    private Errno Create(byte id, byte use) => Command(VirtioOpcode.CreateObject, [.. Object(id), .. new byte[8], use, .. new byte[7]]);

    private Errno Command(VirtioOpcode opcode, byte[] data)
    {
        var reply = new byte[4096];
        Assert.True(Function.Platform.PhysicalFunction!.Execute(
            [(byte)opcode, (byte)((int)opcode >> 8), .. new byte[VirtioAdmin.HeaderBytes - 2], .. data], reply).IsOk);
        return (Errno)BinaryPrimitives.ReadUInt16LittleEndian(reply);
    }

    private byte[] Parts()
    {
        var reply = new byte[4096];
        var got = Function.Platform.PhysicalFunction!.Execute(
            [(byte)VirtioOpcode.GetParts, .. new byte[VirtioAdmin.HeaderBytes - 1], .. Object(1), VirtioAdmin.AllParts, .. new byte[7]], reply).Value;
        return reply[VirtioAdmin.StatusBytes..got];
    }
}
