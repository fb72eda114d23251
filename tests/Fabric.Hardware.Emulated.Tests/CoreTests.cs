using Fabric.Hardware.Specs.Bench;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>The whole core over every function of the zoo: hardware and core agree on what config space, BARs, interrupts and resets are.</summary>
public sealed class CoreTests
{
    private const PciCommand AllOn = PciCommand.IoSpace | PciCommand.MemorySpace | PciCommand.BusMaster;

    /// <summary>Each model with the number of each of its functions.</summary>
    public static TheoryData<string, int> EveryFunction()
    {
        var all = new TheoryData<string, int>();
        foreach (var model in EmulatedModels.All)
        {
            using var zoo = Zoo.With(model.Name);
            for (var function = 0; function < zoo.Bus.Functions.Count; function++)
                all.Add(model.Name, function);
        }

        return all;
    }

    [Theory]
    [MemberData(nameof(EveryFunction))]
    public void Every_function_goes_through_a_whole_life(string model, int index)
    {
        using var zoo = Sound(model);
        var function = (EmulatedFunction)zoo.Bus.Functions[index];
        var core = zoo.Devices.Register(function).Value;
        Healthy(core);
        Assert.True(core.Open().IsOk);
        Healthy(core);
        Assert.Equal(function.ResetMethods.Count > 0, core.ResetWorks);
        CheckSizing(core, function);
        CheckIntx(core, function);
        CheckVectors(core, function, IrqIndex.Msi);
        CheckVectors(core, function, IrqIndex.Msix);
        CheckReset(core, function, () => Assert.True(core.Reset().IsOk));
        CheckReset(core, function, () => AskForReset(core, function));
        core.Close();
        Healthy(core);
        Assert.Equal(PciCommand.None, function.Command() & PciCommand.BusMaster);
        Assert.True(core.Unregister().IsComplete);
        Healthy(core);
    }

    // ---- Hot reset -------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_hot_reset_of_the_slot_needs_all_its_functions_and_their_group_LC_51_LC_54_IO_62()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var first = zoo.Open(zoo.Bus.Functions[0]);
        var group = first.IommuGroup!.Value;
        Assert.Equal(4, first.GetHotResetInfo(new GroupOwnership(group)).Value.Dependents.Length);
        Assert.Equal(Errno.EINVAL, first.HotReset(new GroupOwnership(group)).Error.Errno);

        VfioPciCore[] cores = [first, .. zoo.Bus.Functions.Skip(1).Select(function => zoo.Devices.Register(function).Value)];
        Assert.Equal(Errno.EINVAL, first.HotReset(new GroupOwnership(group + 1)).Error.Errno);
        Assert.True(first.HotReset(new GroupOwnership(group)).IsOk);

        Assert.All(cores, Healthy);
        Assert.Single(cores.Select(core => core.Set).Distinct());
    }

    [Fact]
    public void A_hot_reset_by_context_needs_every_function_bound_there_or_its_group_owned_LC_54_IO_62()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var cores = zoo.Bus.Functions.Select(zoo.Open).ToArray();
        var bound = new Dictionary<PciAddress, int> { [cores[0].Address] = 1 };
        Assert.Equal(Errno.EINVAL, cores[0].HotReset(new ContextOwnership(bound, [])).Error.Errno);

        Assert.True(cores[0].HotReset(new ContextOwnership(bound, [cores[0].IommuGroup!.Value])).IsOk);

        Assert.All(cores, Healthy);
    }

    [Theory]
    [InlineData(EmulatedModels.MultiFunction)]
    [InlineData(EmulatedModels.Conventional)]
    [InlineData(EmulatedModels.NoFlr)]
    public void A_hot_reset_loses_what_the_functions_hold_and_carries_their_config_space_over_LC_52_IO_51(string model)
    {
        using var zoo = Zoo.With(model);
        var cores = zoo.Bus.Functions.Select(zoo.Open).ToArray();
        foreach (var core in cores)
        {
            core.WriteCommand(AllOn);
            core.Write32(0, BenchRegister.Scratch, 7);
        }

        Assert.True(cores[0].HotReset(new GroupOwnership(cores[0].IommuGroup!.Value)).IsOk);

        Assert.All(cores, core => Assert.Equal(0u, core.Read32(0, BenchRegister.Scratch)));
        Assert.All(zoo.Bus.Functions, function => Assert.Equal(PciCommand.BusMaster, function.Command() & PciCommand.BusMaster));
        Assert.All(cores, Healthy);
    }

    // ---- A reset that nobody told of (ER-10, CF-11) ----------------------------------------------------------------------------------

    [Theory]
    [InlineData(EmulatedModels.MultiFunction, IrqIndex.Msix)]
    [InlineData(EmulatedModels.NoFlr, IrqIndex.Msi)]
    public void After_a_silent_reset_BARs_bus_mastering_and_messages_are_lost_and_a_COMMAND_write_brings_back_the_first_two_ER_10_CF_11(
        string model, IrqIndex type)
    {
        using var zoo = Zoo.With(model);
        var function = zoo.First;
        var core = zoo.Open(function);
        core.WriteCommand(AllOn);
        var counter = new Counter();
        Enable(core, type, counter);
        var bar = function.Config32(ConfigOffset.Bar0);
        Assert.True(function.SendMessage(0));

        Assert.True(zoo.Bus.ResetLink(function.Address).IsOk);
        Assert.Equal(PciCommand.None, function.Command());
        Assert.NotEqual(bar, function.Config32(ConfigOffset.Bar0));
        Assert.Equal(Errno.EIO, core.Read(0, 0, new byte[4]).Error.Errno);
        Assert.False(function.SendMessage(0));

        core.WriteCommand(AllOn);
        Assert.Equal((AllOn & function.Command(), bar), (function.Command() & AllOn, function.Config32(ConfigOffset.Bar0)));
        Assert.Equal(PciCommand.BusMaster, function.Command() & PciCommand.BusMaster);
        Assert.Equal(BenchRegister.MagicValue, core.Read32(0, BenchRegister.Magic));
        Assert.False(function.SendMessage(0));

        Disable(core, type);
        Enable(core, type, counter);
        Assert.True(function.SendMessage(0));
        Assert.Equal(2, counter.Signals);
        Healthy(core);
    }

    [Theory]
    [InlineData(EmulatedModels.MultiFunction, IrqIndex.Msix)]
    [InlineData(EmulatedModels.NoFlr, IrqIndex.Msi)]
    public void A_recovery_gives_back_all_that_its_link_reset_took_ER_10(string model, IrqIndex type)
    {
        using var zoo = Zoo.With(model);
        var core = zoo.Open(zoo.First);
        core.WriteCommand(AllOn);
        var counter = new Counter();
        Enable(core, type, counter);
        core.ErrorDetected();
        zoo.Bus.ResetLink(zoo.First.Address);

        var lost = core.RepairLost();

        Assert.Equal(LostConfig.Bars | LostConfig.BusMaster | LostConfig.Capabilities, lost & ~LostConfig.Decode);
        Assert.Equal(BenchRegister.MagicValue, core.Read32(0, BenchRegister.Magic));
        Assert.True(zoo.First.SendMessage(0));
        Assert.Equal(1, counter.Signals);
        Assert.Equal(LostConfig.None, core.RepairLost());
        Healthy(core);
    }

    [Fact]
    public void BARs_alone_do_not_answer_where_only_memory_decode_was_given_back_behind_the_cores_back_CF_11()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var core = zoo.Open(zoo.First);
        core.WriteCommand(AllOn);
        zoo.Bus.ResetLink(zoo.First.Address);

        zoo.First.Command(AllOn);
        Assert.Equal(Errno.EIO, core.Read(0, 0, new byte[4]).Error.Errno);
        core.WriteCommand(AllOn);

        Assert.Equal(BenchRegister.MagicValue, core.Read32(0, BenchRegister.Magic));
    }

    [Fact]
    public void A_RESET_arms_MSI_X_anew_IO_52()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var core = zoo.Open(zoo.First);
        core.WriteCommand(AllOn);
        var counter = new Counter();
        Enable(core, IrqIndex.Msix, counter);

        core.Reset();

        Assert.True(zoo.First.SendMessage(0));
    }

    // ---- Faults as the core meets them -----------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(EveryFunction))]
    public void A_function_that_is_pulled_out_reads_all_ones_and_can_be_closed_and_unregistered(string model, int index)
    {
        using var zoo = Sound(model);
        var function = (EmulatedFunction)zoo.Bus.Functions[index];
        var core = zoo.Open(function);
        core.WriteCommand(AllOn);

        Assert.True(zoo.Bus.PullOut(function.Address).IsOk);

        Assert.Equal(0xffffu, core.Read32(RegionIndex.Config, ConfigOffset.Status - 2) >> 16 | 0x10);
        if (function.Bars[0].Size > 0)
            Assert.Equal(Errno.EIO, core.Read(0, 0, new byte[4]).Error.Errno);
        if (core.ResetWorks)
            Assert.Equal(Errno.EIO, core.Reset().Error.Errno);
        core.Close();
        Assert.True(core.NeedsReset);
        Assert.True(core.Unregister().IsComplete);
        Assert.True(zoo.Bus.PutBack(function.Address).IsOk);
        PutRight(zoo);
        Healthy(zoo.Open(zoo.Bus.Functions.Single(fresh => fresh.Address == function.Address)));
    }

    [Fact]
    public void A_function_that_is_not_ready_after_its_reset_opens_without_one_and_answers_ETIMEDOUT_LC_21()
    {
        using var zoo = Zoo.With(EmulatedModels.NotReady);
        var core = zoo.Devices.Register(zoo.First).Value;

        Assert.Equal(Errno.ETIMEDOUT, core.ResetByHost().Error.Errno);
        zoo.Time.Advance(TimeSpan.FromSeconds(65));
        Assert.True(core.Open().IsOk);

        Assert.False(core.ResetWorks);
        Assert.Equal(Errno.EINVAL, core.Reset().Error.Errno);
    }

    [Theory]
    [InlineData(Errno.EIO)]
    [InlineData(Errno.EAGAIN)]
    public void A_reset_that_fails_leaves_config_space_as_it_was_IO_51(Errno errno)
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var core = zoo.Open(zoo.First);
        core.WriteCommand(AllOn);
        zoo.Bus.SetResetFault(zoo.First.Address, new ResetFault.Fails(1, errno));

        Assert.Equal(errno, core.Reset().Error.Errno);

        Assert.Equal(PciCommand.BusMaster | PciCommand.MemorySpace, zoo.First.Command() & AllOn);
        Assert.True(core.Reset().IsOk);
        Healthy(core);
    }

    [Fact]
    public void A_slot_reset_brings_back_a_function_that_its_own_reset_left_dead_LC_53()
    {
        using var zoo = new Zoo(new EmulatedCard(EmulatedModels.NoFlr, Fault: new ResetFault.Dies(1)));
        var core = zoo.Devices.Register(zoo.First).Value;
        Assert.True(core.ResetByHost().IsOk);
        Assert.Equal(uint.MaxValue, zoo.First.Config32(0));

        Assert.True(zoo.Bus.HotReset(zoo.First.Address).IsOk);
        Assert.True(core.Open().IsOk);

        Assert.True(core.ResetWorks);
    }

    [Fact]
    public async Task A_RESET_of_the_core_hangs_with_its_hardware_and_returns_with_it()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var core = zoo.Open(zoo.First);
        zoo.Bus.Hang(zoo.First.Address, HangPoint.Reset);
        var reset = Task.Factory.StartNew(core.Reset, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.True(SpinWait.SpinUntil(() => zoo.Bus.HungCalls(zoo.First.Address) == 1, TimeSpan.FromSeconds(20)));

        zoo.Bus.Release(zoo.First.Address);

        Assert.True((await reset.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken)).IsOk);
        Healthy(core);
    }

    [Fact]
    public void The_host_has_fewer_vectors_than_asked_for_and_says_how_many_IO_42()
    {
        using var zoo = Zoo.With(EmulatedModels.NoFlr);
        var core = zoo.Open(zoo.First);
        var events = Enumerable.Range(0, 4).Select(_ => EventRef.Of(new Counter())).ToArray();

        var outcome = core.SetIrqs(new SetIrqs((uint)IrqIndex.Msi, 0, 4, IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventfd, Events: events));

        Assert.Equal(2, outcome.Available);
    }

    [Fact]
    public void A_vector_is_added_while_another_is_in_use_IO_44()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var core = zoo.Open(zoo.First);
        core.WriteCommand(AllOn);
        Enable(core, IrqIndex.Msix, new Counter());
        var added = new Counter();

        var outcome = core.SetIrqs(new SetIrqs(
            (uint)IrqIndex.Msix, 5, 1, IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventfd, Events: new[] { EventRef.Of(added) }));

        Assert.True(outcome.IsDone);
        Assert.True(zoo.First.SendMessage(5));
        Assert.Equal(1, added.Signals);
    }

    // ---- Found by the walk over the zoo ----------------------------------------------------------------------------------------------

    [Fact]
    public void What_was_read_of_a_function_that_did_not_answer_is_not_given_to_it_when_it_does_INV_3()
    {
        using var zoo = Zoo.With(EmulatedModels.NotReady);
        var core = zoo.Open(zoo.First);

        core.Close();

        Assert.Equal(PciCommand.None, zoo.First.Command());
        Healthy(core);
    }

    [Fact]
    public void Memory_of_a_function_that_its_reset_left_dead_is_blocked_INV_1()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var core = zoo.Open(zoo.First);
        zoo.Bus.SetResetFault(zoo.First.Address, new ResetFault.Dies(1));

        Assert.True(core.Reset().IsOk);

        Healthy(core);
    }

    [Fact]
    public void Memory_of_a_function_that_answers_nothing_when_it_is_opened_is_blocked_INV_1()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        var core = zoo.Devices.Register(zoo.First, options: new CoreOptions(DisableIdleD3: true)).Value;
        zoo.Bus.SetResetFault(zoo.First.Address, new ResetFault.NotReady(TimeSpan.FromSeconds(40)));
        core.ResetByHost();

        core.Open();

        Healthy(core);
    }

    // ---- Steps -----------------------------------------------------------------------------------------------------------------------

    /// <summary>A zoo of one model, whose own fault is put right.</summary>
    private static Zoo Sound(string model)
    {
        var zoo = Zoo.With(model);
        PutRight(zoo);
        return zoo;
    }

    private static void PutRight(Zoo zoo)
    {
        foreach (var function in zoo.Bus.Functions)
        {
            zoo.Bus.Release(function.Address);
            zoo.Bus.SetResetFault(function.Address, null);
        }
    }

    private static void Healthy(VfioPciCore core) => Assert.Empty(core.CheckInvariants());

    private static void CheckSizing(VfioPciCore core, EmulatedFunction function)
    {
        for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
        {
            var size = function.Bars[bar].Size;
            Assert.Equal(size, core.GetRegionInfo(bar).Value.Size);
            if (size == 0)
                continue;
            var hardware = function.Config32(ConfigOffset.Bar0 + (4 * bar));
            core.Write32(RegionIndex.Config, ConfigOffset.Bar0 + (4 * bar), uint.MaxValue);
            var sized = core.Read32(RegionIndex.Config, ConfigOffset.Bar0 + (4 * bar));
            Assert.Equal((uint)~(size - 1), sized & (function.Bars[bar].Kind == BarKind.Io ? ~3u : ~15u));
            Assert.Equal(hardware, function.Config32(ConfigOffset.Bar0 + (4 * bar)));
        }

        Assert.Equal(function.Rom.ContentBytes, core.GetRegionInfo(RegionIndex.Rom).Value.Size);
        if (function.Rom.ContentBytes != 0)
            Assert.Equal(0xaa55u, core.Read32(RegionIndex.Rom, 0) & 0xffff);
        Healthy(core);
    }

    private static void CheckIntx(VfioPciCore core, EmulatedFunction function)
    {
        if (core.GetIrqInfo((int)IrqIndex.Intx).Value.Count == 0)
            return;
        var counter = new Counter();
        Assert.True(core.SetTrigger(IrqIndex.Intx, counter).IsOk);
        function.SetLine(true);
        function.SetLine(true);
        Assert.Equal(1, counter.Signals);
        Unmask(core);
        Assert.Equal(2, counter.Signals);
        function.SetLine(false);
        Unmask(core);
        Assert.Equal(2, counter.Signals);
        function.SetLine(true);
        Assert.Equal(3, counter.Signals);
        Healthy(core);
        Disable(core, IrqIndex.Intx);
        function.SetLine(false);
        Assert.Equal(3, counter.Signals);
        Healthy(core);
    }

    private static void Unmask(VfioPciCore core) =>
        Assert.True(core.SetIrqs(new SetIrqs((uint)IrqIndex.Intx, 0, 1, IrqSetFlags.ActionUnmask | IrqSetFlags.DataNone)).IsDone);

    private static void CheckVectors(VfioPciCore core, EmulatedFunction function, IrqIndex type)
    {
        if (core.GetIrqInfo((int)type).Value.Count == 0)
            return;
        core.WriteCommand(AllOn);
        var counter = new Counter();
        Enable(core, type, counter);
        Assert.True(function.SendMessage(0));
        Assert.False(function.SendMessage(1));
        Assert.False(function.SendMessage(ushort.MaxValue));
        if (function.Ids.Device is BenchIds.MultiFunction or BenchIds.NoFunctionLevelReset)
        {
            core.Write32(0, BenchRegister.Message, 0);
            Assert.Equal(2, counter.Signals);
        }

        Healthy(core);
        core.WriteCommand(PciCommand.MemorySpace);
        Assert.False(function.SendMessage(0));
        Disable(core, type);
        core.WriteCommand(AllOn);
        Assert.False(function.SendMessage(0));
        Healthy(core);
    }

    private static void Enable(VfioPciCore core, IrqIndex type, Counter counter) => Assert.True(core.SetIrqs(new SetIrqs(
        (uint)type, 0, 1, IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventfd, Events: new[] { EventRef.Of(counter) })).IsDone);

    private static void Disable(VfioPciCore core, IrqIndex type) =>
        Assert.True(core.SetIrqs(new SetIrqs((uint)type, 0, 0, IrqSetFlags.ActionTrigger | IrqSetFlags.DataNone)).IsDone);

    /// <summary>What the function held is lost, config space is not.</summary>
    private static void CheckReset(VfioPciCore core, EmulatedFunction function, Action reset)
    {
        core.WriteCommand(AllOn);
        var command = function.Command();
        var isBench = function.Ids.Device is >= BenchIds.MultiFunction and < BenchIds.Null;
        if (isBench)
            core.Write32(0, BenchRegister.Scratch, 7);

        reset();

        Assert.Equal(command, function.Command());
        if (isBench)
            Assert.Equal(0u, core.Read32(0, BenchRegister.Scratch));
        Healthy(core);
    }

    /// <summary>By config space where it can be asked for there; else by RESET.</summary>
    private static void AskForReset(VfioPciCore core, EmulatedFunction function)
    {
        var raw = new byte[function.ConfigSize];
        function.ReadConfig(0, raw);
        foreach (var (id, offset) in CapabilityWalk.Standard(raw))
        {
            if (id == StandardCapability.PciExpress && PciExpressCapability.Parse(raw, offset).HasFunctionLevelReset)
            {
                Assert.True(core.Write(RegionIndex.Config, (ulong)(offset + PciExpressCapability.DeviceControl), [0, 0x80]).IsOk);
                return;
            }

            if (id == StandardCapability.AdvancedFeatures)
            {
                Assert.True(core.Write(RegionIndex.Config, (ulong)(offset + AdvancedFeaturesCapability.Control), [1]).IsOk);
                return;
            }
        }

        Assert.True(core.Reset().IsOk);
    }
}
