using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using Fabric.Hardware.Linux.Kernel;
using Fabric.Linux;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux.Tests.Lab;

/// <summary>The kernel's devices, opened both ways. In the guest alone.</summary>
[Trait(LabMachine.Trait, LabMachine.Name)]
public sealed class KernelDeviceTests(TakenFunctions taken) : IClassFixture<TakenFunctions>
{
    private readonly KernelVfio vfio = new();

    public static TheoryData<KernelInterface> Interfaces => [KernelInterface.Group, KernelInterface.Cdev];

    [Fact]
    public void A_kernel_with_iommufd_and_cdevs_is_asked_by_cdev()
    {
        LabMachine.Require();

        Assert.Equal(KernelInterface.Cdev, vfio.Preferred);
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void Config_space_has_the_ids_that_sysfs_shows(KernelInterface by)
    {
        PciAddress[] all = [LabMachine.Igb, LabMachine.E1000e, LabMachine.Nvme, LabMachine.Edu, LabMachine.VirtioNet];
        taken.Take(all);

        Span<byte> ids = stackalloc byte[4];
        foreach (var address in all)
        {
            using var device = vfio.Open(address, by).Value;

            Assert.Equal(4, device.Read(RegionIndex.Config, 0, ids).Value);
            Assert.Equal(Hex(LabMachine.Sysfs(address, "vendor")), BinaryPrimitives.ReadUInt16LittleEndian(ids));
            Assert.Equal(Hex(LabMachine.Sysfs(address, "device")), BinaryPrimitives.ReadUInt16LittleEndian(ids[2..]));
        }
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void A_BAR_reads_the_same_mapped_and_not(KernelInterface by)
    {
        taken.Take(LabMachine.E1000e);
        using var device = vfio.Open(LabMachine.E1000e, by).Value;
        using var mapping = device.Map(RegionIndex.Bar0).Value;
        Span<byte> read = stackalloc byte[4];
        Span<byte> mapped = stackalloc byte[4];

        // STATUS, which stays what it is.
        Assert.Equal(4, device.Read(RegionIndex.Bar0, 8, read).Value);
        Assert.True(mapping.TryRead(8, mapped));
        Assert.Equal(read.ToArray(), mapped.ToArray());
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void The_BAR_with_the_table_of_MSI_X_says_that_it_can_be_mapped(KernelInterface by)
    {
        taken.Take(LabMachine.E1000e);
        using var device = vfio.Open(LabMachine.E1000e, by).Value;

        Assert.Contains(
            Enumerable.Range(0, 6).SelectMany(bar => device.CapabilitiesOf(bar).Value), static capability => capability is MsixMappableCapability);
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void A_region_that_the_function_has_not_is_EINVAL(KernelInterface by)
    {
        taken.Take(LabMachine.E1000e);
        using var device = vfio.Open(LabMachine.E1000e, by).Value;

        Assert.Equal(Errno.EINVAL, device.Read(42, 0, new byte[4]).Error.Errno);
        Assert.Equal(Errno.EINVAL, device.Read(RegionIndex.Config, device.SizeOf(RegionIndex.Config) - 2, new byte[4]).Error.Errno);
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void An_interrupt_that_the_device_raises_signals_the_eventfd(KernelInterface by)
    {
        taken.Take(LabMachine.Edu);
        using var edu = new EduDevice(vfio.Open(LabMachine.Edu, by).Value);
        using var eventfd = EventFd.Create();

        Assert.Equal(0, edu.Device.SetTrigger(IrqIndex.Msi, 0, eventfd).Value);
        edu.RaiseInterrupt();

        Assert.Equal(1UL, Poll.Until(eventfd.Read));
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public unsafe void DMA_reaches_what_is_mapped_and_nothing_after_it_is_unmapped(KernelInterface by)
    {
        taken.Take(LabMachine.Edu);
        using var edu = new EduDevice(vfio.Open(LabMachine.Edu, by).Value);
        using var memory = new PageMemory(pages: 2);
        var map = new DmaMap();
        new KernelDma(edu.Device.Space).Connect(map);
        Assert.Equal(VfioResult.Ok, map.Map(0x10_0000, memory));
        "moved by the device"u8.CopyTo(memory.Window(0, 64));

        edu.FromMemory(0x10_0000, bytes: 64);
        edu.ToMemory(0x10_1000, bytes: 64);
        Assert.Equal("moved by the device"u8, memory.Window(4096, 19));

        memory.Window(4096, 64).Clear();
        Assert.Equal(VfioResult.Ok, map.Unmap(0x10_0000));
        edu.ToMemory(0x10_1000, bytes: 64);
        Assert.False(memory.Window(4096, 64).ContainsAnyExcept((byte)0));
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void A_range_that_is_mapped_already_is_EEXIST_by_the_kernel_too(KernelInterface by)
    {
        taken.Take(LabMachine.Edu);
        using var device = vfio.Open(LabMachine.Edu, by).Value;
        using var memory = new PageMemory(pages: 1);
        var mapping = new DmaMapping(0x20_0000, memory.Length, memory, DmaAccess.ReadWrite);

        Assert.Equal(VfioResult.Ok, device.Space.Map(mapping));
        Assert.Equal(Errno.EEXIST, device.Space.Map(mapping).Error.Errno);
        Assert.Equal(VfioResult.Ok, device.Space.Unmap(mapping));
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void A_function_with_FLR_is_reset(KernelInterface by)
    {
        taken.Take(LabMachine.Nvme);
        using var device = vfio.Open(LabMachine.Nvme, by).Value;

        Assert.NotEqual(DeviceFlags.None, device.Info.Flags & DeviceFlags.Reset);
        Assert.Equal(VfioResult.Ok, device.Reset());
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void A_group_that_the_host_has_a_driver_in_is_EPERM_and_the_driver_is_named(KernelInterface by)
    {
        taken.Take(LabMachine.BehindBridge);

        var refused = vfio.Open(LabMachine.BehindBridge, by);

        Assert.Equal(Errno.EPERM, refused.Error.Errno);
        Assert.Contains("0000:07:00.0 (shpchp)", refused.Error.Sentence, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void A_card_of_two_functions_is_hot_reset_by_who_holds_both(KernelInterface by)
    {
        taken.Take(LabMachine.FirstOfCard, LabMachine.SecondOfCard);
        using var first = vfio.Open(LabMachine.FirstOfCard, by).Value;
        using var second = vfio.Open(LabMachine.SecondOfCard, by).Value;

        Assert.Equal([LabMachine.FirstOfCard, LabMachine.SecondOfCard], first.GetHotResetInfo().Value.Select(static device => device.Address));
        Assert.Equal(VfioResult.Ok, first.HotReset([first, second]));
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void Two_functions_of_one_group_share_what_their_DMA_reaches(KernelInterface by)
    {
        taken.Take(LabMachine.FirstOfCard, LabMachine.SecondOfCard);
        using var first = vfio.Open(LabMachine.FirstOfCard, by).Value;
        using var second = vfio.Open(LabMachine.SecondOfCard, by).Value;

        Assert.Same(first.Space, second.Space);
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void ERR_and_REQ_are_signalled_when_they_are_triggered(KernelInterface by)
    {
        taken.Take(LabMachine.E1000e);
        using var device = vfio.Open(LabMachine.E1000e, by).Value;
        foreach (var index in new[] { IrqIndex.Err, IrqIndex.Req })
        {
            using var eventfd = EventFd.Create();
            Assert.Equal(0, device.SetTrigger(index, 0, eventfd).Value);
            Assert.Equal(0, device.SetIrqs(new SetIrqs((uint)index, 0, 1, IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger)).Value);

            Assert.Equal(1UL, eventfd.Read());
        }
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void Features_of_migration_are_ENOTTY_where_the_kernel_has_no_driver_for_it(KernelInterface by)
    {
        taken.Take(LabMachine.E1000e);
        using var device = vfio.Open(LabMachine.E1000e, by).Value;

        Assert.Equal(Errno.ENOTTY, device.Get<VfioDeviceFeatureMigration>().Error.Errno);
        Assert.Equal(Errno.ENOTTY, device.Probe(DeviceFeature.Migration, FeatureOps.Get).Error.Errno);
    }

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void Neither_descriptors_nor_mappings_are_left_of_devices_that_were_closed(KernelInterface by)
    {
        taken.Take(LabMachine.E1000e, LabMachine.FirstOfCard, LabMachine.SecondOfCard);
        Use();
        var before = Held();
        for (var again = 0; again < 10; again++)
            Use();

        Assert.Equal(before, Held());

        void Use()
        {
            using var device = vfio.Open(LabMachine.E1000e, by).Value;
            using var mapping = device.Map(RegionIndex.Bar0).Value;
            using var first = vfio.Open(LabMachine.FirstOfCard, by).Value;
            using var second = vfio.Open(LabMachine.SecondOfCard, by).Value;
            // One that is refused holds nothing either.
            Assert.Equal(Errno.ENODEV, vfio.Open(new PciAddress(0, 0x7f, 0, 0), by).Error.Errno);
        }
    }

    /// <summary>Descriptors of VFIO's and of iommufd's, and mappings of devices.</summary>
    private static (int Descriptors, int Mappings) Held() => (
        Directory.EnumerateFileSystemEntries("/proc/self/fd").Select(static fd => new FileInfo(fd).LinkTarget ?? "").Count(IsDevice),
        File.ReadLines("/proc/self/maps").Count(IsDevice));

    private static bool IsDevice(string text) =>
        text.Contains("vfio", StringComparison.Ordinal) || text.Contains("/dev/iommu", StringComparison.Ordinal);

    private static uint Hex(string text) => uint.Parse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
}

/// <summary>Whole pages of this process's memory, which do not move.</summary>
internal sealed unsafe class PageMemory(int pages) : IDmaMemory, IDisposable
{
    private readonly byte* start = (byte*)NativeMemory.AlignedAlloc((nuint)pages * 4096, 4096);

    public ulong Length => (ulong)pages * 4096;

    public Span<byte> Window(ulong offset, int length) => new(start + offset, length);

    public void Dispose() => NativeMemory.AlignedFree(start);
}

/// <summary>QEMU's teaching device: it raises interrupts when told to, and copies between memory and a buffer of its own.</summary>
internal sealed class EduDevice : IDisposable
{
    private const ulong RaiseRegister = 0x60;
    private const ulong SourceRegister = 0x80;
    private const ulong DestinationRegister = 0x88;
    private const ulong CountRegister = 0x90;
    private const ulong CommandRegister = 0x98;
    private const ulong Buffer = 0x4_0000;
    private const ulong Start = 1;
    private const ulong TowardsMemory = 2;

    public EduDevice(KernelDevice device)
    {
        Device = device;
        Span<byte> command = stackalloc byte[2];
        device.Read(RegionIndex.Config, ConfigOffset.Command, command);
        var on = (PciCommand)BinaryPrimitives.ReadUInt16LittleEndian(command) | PciCommand.MemorySpace | PciCommand.BusMaster;
        BinaryPrimitives.WriteUInt16LittleEndian(command, (ushort)on);
        device.Write(RegionIndex.Config, ConfigOffset.Command, command);
    }

    public KernelDevice Device { get; }

    public void RaiseInterrupt()
    {
        Span<byte> value = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(value, 1);
        Assert.Equal(4, Device.Write(RegionIndex.Bar0, RaiseRegister, value).Value);
    }

    public void FromMemory(ulong iova, ulong bytes) => Move(iova, Buffer, bytes, Start);

    public void ToMemory(ulong iova, ulong bytes) => Move(Buffer, iova, bytes, Start | TowardsMemory);

    public void Dispose() => Device.Dispose();

    private void Move(ulong source, ulong destination, ulong bytes, ulong command)
    {
        Write(SourceRegister, source);
        Write(DestinationRegister, destination);
        Write(CountRegister, bytes);
        Write(CommandRegister, command);
        Poll.Until(() => (Read(CommandRegister) & Start) == 0 ? 1UL : 0);
    }

    private void Write(ulong register, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Assert.Equal(8, Device.Write(RegionIndex.Bar0, register, bytes).Value);
    }

    private ulong Read(ulong register)
    {
        Span<byte> bytes = stackalloc byte[8];
        Assert.Equal(8, Device.Read(RegionIndex.Bar0, register, bytes).Value);
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }
}

/// <summary>Asks until there is an answer, with an end.</summary>
internal static class Poll
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public static ulong Until(Func<ulong> ask)
    {
        var began = Environment.TickCount64;
        while (Environment.TickCount64 - began < Limit.TotalMilliseconds)
        {
            if (ask() is > 0 and var answer)
                return answer;
            Thread.Yield();
        }

        throw new TimeoutException($"There was no answer within {Limit.TotalSeconds} s.");
    }
}
