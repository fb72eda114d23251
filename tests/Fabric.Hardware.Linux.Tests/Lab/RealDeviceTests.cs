using System.Buffers.Binary;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux.Tests.Lab;

/// <summary>Real functions behind the same actors as any other. In the guest alone.</summary>
[Trait(LabMachine.Trait, LabMachine.Name)]
public sealed class RealDeviceTests(TakenFunctions taken) : IClassFixture<TakenFunctions>
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    public static TheoryData<string> Functions =>
        [.. new[] { LabMachine.Igb, LabMachine.E1000e, LabMachine.Nvme, LabMachine.VirtioNet }.Select(static function => function.ToString())];

    [Theory]
    [MemberData(nameof(Functions))]
    public async Task A_real_function_is_opened_read_and_reset_by_messages(string name)
    {
        var function = PciAddress.Parse(name);
        taken.Take(function);
        await using var host = new RealHost(function);
        var device = await host.OpenAsync(function);

        var ids = (await device.ReadAsync(RegionIndex.Config, 0, 4)).Value;
        Assert.Equal(LabMachine.Sysfs(function, "vendor"), $"0x{BinaryPrimitives.ReadUInt16LittleEndian(ids.Span):x4}");
        Assert.Equal(LabMachine.Sysfs(function, "device"), $"0x{BinaryPrimitives.ReadUInt16LittleEndian(ids.Span[2..]):x4}");
        Assert.Equal(VfioResult.Ok, await device.ResetAsync());
        Assert.Equal(ids.ToArray(), (await device.ReadAsync(RegionIndex.Config, 0, 4)).Value.ToArray());
        Assert.Equal(VfioResult.Ok, await device.CloseAsync());
        Assert.True((await host.StatusAsync(function)).Physical);
    }

    [Theory]
    [MemberData(nameof(Functions))]
    public async Task What_our_core_says_of_regions_and_interrupts_is_what_the_kernels_says(string name)
    {
        var function = PciAddress.Parse(name);
        taken.Take(function);
        await using var host = new RealHost(function);
        var kernel = ((KernelFunction)host.Bus.Functions.Single()).Device;
        var device = await host.OpenAsync(function);

        for (var index = 0; index < RegionIndex.Config; index++)
        {
            var ours = (await device.GetRegionInfoAsync(index)).Value;
            // That there are capabilities is said by whoever writes them.
            Assert.Equal((index, kernel.SizeOf(index), kernel.FlagsOf(index) & ~RegionFlags.Caps), (index, ours.Size, ours.Flags));
            Assert.Equal(
                kernel.CapabilitiesOf(index).Value.Any(static capability => capability is MsixMappableCapability),
                ours.Caps is { IsDefaultOrEmpty: false } caps && caps.Any(static capability => capability is RegionCapability.MsixMappable));
        }

        foreach (var index in Enum.GetValues<IrqIndex>())
        {
            var theirs = kernel.GetIrqInfo(index);
            var ours = await device.GetIrqInfoAsync((int)index);
            if (theirs.IsOk && theirs.Value.Count > 0)
                Assert.Equal(theirs.Value, ours.Value);
            else
                Assert.True(!ours.IsOk || ours.Value.Count == 0 || index == IrqIndex.Err, $"{index}: {ours}");
        }
    }

    [Fact]
    public async Task Interrupts_and_DMA_go_by_messages_as_by_the_kernels_own_files()
    {
        taken.Take(LabMachine.Edu);
        await using var host = new RealHost(LabMachine.Edu);
        var device = await host.OpenAsync(LabMachine.Edu);
        using var memory = new PageMemory(pages: 2);
        var raised = new Signals();
        "moved by the device"u8.CopyTo(memory.Window(0, 64));

        Assert.Equal(VfioResult.Ok, await device.WriteAsync(RegionIndex.Config, ConfigOffset.Command, new byte[] { 6, 0 }));
        Assert.Equal(0, (await device.SetIrqsAsync(new SetIrqs(
            (uint)IrqIndex.Msi, 0, 1, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, Events: new[] { EventRef.Of(raised) }))).Value);
        await device.WriteAsync(RegionIndex.Bar0, 0x60, new byte[] { 1, 0, 0, 0 });
        await raised.WaitAsync(1, Patience);

        Assert.Equal(VfioResult.Ok, await device.MapDmaAsync(0x10_0000, memory));
        await MoveAsync(device, 0x10_0000, 0x4_0000, command: 1);
        await MoveAsync(device, 0x4_0000, 0x10_1000, command: 3);
        Assert.Equal("moved by the device"u8, memory.Window(4096, 19));

        memory.Window(4096, 64).Clear();
        Assert.Equal(VfioResult.Ok, await device.UnmapDmaAsync(0x10_0000));
        await MoveAsync(device, 0x4_0000, 0x10_1000, command: 3);
        Assert.False(memory.Window(4096, 64).ContainsAnyExcept((byte)0));
    }

    [Fact]
    public async Task The_line_of_a_function_is_signalled_once_until_it_is_unmasked()
    {
        taken.Take(LabMachine.Edu);
        await using var host = new RealHost(LabMachine.Edu);
        var device = await host.OpenAsync(LabMachine.Edu);
        var raised = new Signals();
        await device.WriteAsync(RegionIndex.Config, ConfigOffset.Command, new byte[] { 6, 0 });
        Assert.Equal(0, (await device.SetIrqsAsync(new SetIrqs(
            (uint)IrqIndex.Intx, 0, 1, IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger, Events: new[] { EventRef.Of(raised) }))).Value);

        await device.WriteAsync(RegionIndex.Bar0, 0x60, new byte[] { 1, 0, 0, 0 });
        await raised.WaitAsync(1, Patience);
        // Asserted still: unmasked, it comes again; acknowledged first, it does not.
        await device.SetIrqsAsync(new SetIrqs((uint)IrqIndex.Intx, 0, 1, IrqSetFlags.DataNone | IrqSetFlags.ActionUnmask));
        await raised.WaitAsync(2, Patience);
        await device.WriteAsync(RegionIndex.Bar0, 0x64, new byte[] { 1, 0, 0, 0 });
        await device.SetIrqsAsync(new SetIrqs((uint)IrqIndex.Intx, 0, 1, IrqSetFlags.DataNone | IrqSetFlags.ActionUnmask));
        await device.ReadAsync(RegionIndex.Bar0, 0, 4);
        Assert.Equal(2, raised.Count);

        await device.WriteAsync(RegionIndex.Bar0, 0x60, new byte[] { 1, 0, 0, 0 });
        await raised.WaitAsync(3, Patience);
    }

    [Theory]
    [InlineData("COMP_ABORT", "NonFatal")]
    [InlineData("MALF_TLP", "Fatal")]
    public async Task An_error_of_a_real_function_reaches_its_holder_and_its_history_and_is_recovered_from(string injected, string severity)
    {
        taken.Take(LabMachine.VirtioNet);
        await using var host = new RealHost(LabMachine.VirtioNet);
        var device = await host.OpenAsync(LabMachine.VirtioNet);
        var heard = new Signals();
        Assert.Equal(VfioResult.Ok, await device.SetTriggerAsync(IrqIndex.Err, heard));
        using var notes = host.Listen<DeviceNoted>();

        LabMachine.Monitor($"pcie_aer_inject_error virtio {injected}");

        await heard.WaitAsync(1, Patience);
        var said = new List<string>();
        while (!said.Contains("recovered"))
            said.Add(((DeviceNoted)notes.Receive(Patience)).Entry.Kind);
        Assert.Contains(
            await host.HistoryAsync(LabMachine.VirtioNet),
            entry => entry.Kind == "error" && entry.Message.Contains(severity, StringComparison.Ordinal));
        Assert.Equal(DeviceHealth.Healthy, (await host.StatusAsync(LabMachine.VirtioNet)).Health);
        Assert.True((await device.ReadAsync(RegionIndex.Config, 0, 4)).IsOk);
    }

    [Fact]
    public async Task A_function_that_the_kernel_wants_back_is_asked_for_and_let_go_when_it_is_closed()
    {
        taken.Take(LabMachine.Igb);
        await using var host = new RealHost(LabMachine.Igb);
        var device = await host.OpenAsync(LabMachine.Igb);
        var asked = new Signals();
        Assert.Equal(VfioResult.Ok, await device.SetTriggerAsync(IrqIndex.Req, asked));
        using var gone = host.Listen<DeviceGone>();

        var unbinding = Task.Run(() => File.WriteAllText("/sys/bus/pci/drivers/vfio-pci/unbind", LabMachine.Igb.ToString()), Cancelled);
        await asked.WaitAsync(1, Patience);
        Assert.False(unbinding.IsCompleted);
        Assert.Equal(VfioResult.Ok, await device.CloseAsync());

        await unbinding.WaitAsync(Patience, Cancelled);
        Assert.Equal(LabMachine.Igb, ((DeviceGone)gone.Receive(Patience)).Address);
        Assert.Empty(host.Bus.Functions);
    }

    [Fact]
    public async Task A_function_that_vfio_pci_gets_later_is_there_without_being_asked_for()
    {
        taken.GiveBack();
        await using var host = new RealHost(LabMachine.FirstOfCard, LabMachine.SecondOfCard);
        using var changes = host.Listen<DeviceStatusChanged>();
        Assert.Empty(host.Bus.Functions);

        taken.Take(LabMachine.SecondOfCard, LabMachine.FirstOfCard);

        var closed = new HashSet<PciAddress>();
        while (closed.Count < 2)
        {
            if (changes.Receive(Patience) is DeviceStatusChanged { Status: { State: DeviceState.Closed } status })
                closed.Add(status.Address);
        }

        Assert.Equal([LabMachine.FirstOfCard, LabMachine.SecondOfCard], closed.Order());
    }

    [Fact]
    public async Task Both_functions_of_a_card_are_reset_by_their_holder()
    {
        taken.Take(LabMachine.FirstOfCard, LabMachine.SecondOfCard);
        await using var host = new RealHost(LabMachine.FirstOfCard, LabMachine.SecondOfCard);
        var (first, second) = (await host.FindAsync(LabMachine.FirstOfCard), await host.FindAsync(LabMachine.SecondOfCard));
        var holder = host.System.ActorOf(Props.Empty);
        var one = await first.Front.Ask<DeviceOpened>(new OpenDevice("a test", holder), Patience, Cancelled);
        await second.Front.Ask<DeviceOpened>(new OpenDevice("a test", holder), Patience, Cancelled);

        Assert.IsType<DeviceDone>(await first.Front.Ask<DeviceReply>(new HotResetDevice(one.Session, []), Patience, Cancelled));
    }

    [Fact]
    public async Task The_VFs_of_a_real_PF_are_made_handed_out_and_removed_by_messages()
    {
        taken.Take(LabMachine.Igb);
        File.WriteAllText("/sys/module/vfio_pci/parameters/enable_sriov", "1");
        await using var host = new RealHost(function => function.Bus == LabMachine.Igb.Bus);
        await host.FindAsync(LabMachine.Igb);

        var made = Assert.IsType<SriovConfigured>(await host.Host.Ask<object>(new ConfigureSriov(LabMachine.Igb, 2, "a test"), Patience, Cancelled));
        Assert.Equal(2, made.VirtualFunctions.Length);
        foreach (var function in made.VirtualFunctions)
        {
            var device = await host.OpenAsync(function);
            Assert.Equal([0x86, 0x80], (await device.ReadAsync(RegionIndex.Config, 0, 2)).Value.ToArray());
            Assert.Equal(VfioResult.Ok, await device.ResetAsync());
            Assert.Equal(VfioResult.Ok, await device.CloseAsync());
        }

        var removed = Assert.IsType<SriovConfigured>(
            await host.Host.Ask<object>(new ConfigureSriov(LabMachine.Igb, 0, "a test"), Patience, Cancelled));
        Assert.Empty(removed.VirtualFunctions);
        Assert.Equal([LabMachine.Igb], host.Bus.Functions.Select(static function => function.Address));
    }

    private static async Task MoveAsync(DeviceClient device, ulong source, ulong destination, ulong command)
    {
        foreach (var (register, value) in new (ulong, ulong)[] { (0x80, source), (0x88, destination), (0x90, 64), (0x98, command) })
            Assert.Equal(VfioResult.Ok, await device.WriteAsync(RegionIndex.Bar0, register, BitConverter.GetBytes(value)));
        var began = Environment.TickCount64;
        while (((await device.ReadAsync(RegionIndex.Bar0, 0x98, 8)).Value.Span[0] & 1) != 0)
            Assert.InRange(Environment.TickCount64 - began, 0, (long)Patience.TotalMilliseconds);
    }
}

/// <summary>An eventfd of a test's own.</summary>
internal sealed class Signals : IEventTarget
{
    private readonly SemaphoreSlim signalled = new(0);
    private int waited;
    private int count;

    public int Count => Volatile.Read(ref count);

    public void Signal()
    {
        Interlocked.Increment(ref count);
        signalled.Release();
    }

    /// <summary>Until it has been signalled so many times in all.</summary>
    public async Task WaitAsync(int times, TimeSpan limit)
    {
        for (; waited < times; waited++)
        {
            Assert.True(
                await signalled.WaitAsync(limit, TestContext.Current.CancellationToken),
                $"It was signalled {count} times, not {times}, within {limit}.");
        }
    }
}
