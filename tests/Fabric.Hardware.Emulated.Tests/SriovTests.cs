using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>VFs that the host makes (contract §5).</summary>
public sealed class SriovTests : IDisposable
{
    private readonly Zoo zoo = Zoo.With(EmulatedModels.Accelerator);
    private readonly VfioPciCore core;

    public SriovTests() => core = zoo.Devices.Register(zoo.First, options: new CoreOptions(EnableSriov: true)).Value;

    private AcceleratorPhysicalFunction Physical => (AcceleratorPhysicalFunction)zoo.First;

    private int Sriov
    {
        get
        {
            var raw = new byte[4096];
            Physical.ReadConfig(0, raw);
            return CapabilityWalk.Extended(raw).Single(entry => entry.Id == ExtendedCapability.Sriov).Offset;
        }
    }

    [Fact]
    public void VFs_are_made_by_the_PFs_core_and_appear_in_order_SV_10()
    {
        Assert.Equal(2, core.WriteNumVfs("2").Value.Count);

        Assert.Equal(["fab0:01:00.0", "fab0:01:00.1", "fab0:01:00.2"], zoo.Addresses);
        Assert.Equal(zoo.Bus.Functions.Skip(1), zoo.Events.Cast<FunctionAppeared>().Select(appeared => appeared.Function));
        Assert.Equal((2, 1), (Physical.Config16(Sriov + SriovCapability.NumVfs), Physical.Config16(Sriov + SriovCapability.Control) & 1));
        Assert.Empty(core.CheckInvariants());
    }

    [Fact]
    public void Zero_takes_them_away_and_new_ones_can_be_made_SV_11()
    {
        core.WriteNumVfs("3");
        var old = zoo.Bus.Functions[3];

        Assert.True(core.WriteNumVfs("0").Value.IsComplete);

        Assert.Equal(["fab0:01:00.0"], zoo.Addresses);
        Assert.Equal(3, zoo.Events.OfType<FunctionVanished>().Count());
        Assert.Equal((uint.MaxValue, Errno.EIO), (old.Config32(0), old.Read(0)));
        Assert.Equal(0, Physical.Config16(Sriov + SriovCapability.Control) & 1);
        Assert.True(core.WriteNumVfs("1").IsOk);
    }

    [Fact]
    public void A_recovery_gives_a_PF_back_its_VFs_after_a_link_reset_whether_it_is_open_or_not_ER_10()
    {
        core.WriteNumVfs("2");
        core.ErrorDetected();
        zoo.Bus.ResetLink(zoo.First.Address);
        Assert.Equal(0, Physical.Config16(Sriov + SriovCapability.Control) & 1);

        core.RepairLost();

        Assert.Equal((2, 1), (Physical.Config16(Sriov + SriovCapability.NumVfs), Physical.Config16(Sriov + SriovCapability.Control) & 1));
        Assert.True(zoo.Devices.Register(zoo.Bus.Functions[1]).Value.Open().IsOk);
    }

    [Fact]
    public void TotalVFs_is_what_the_capability_says_SV_2()
    {
        Assert.Equal(3, Physical.Config16(Sriov + SriovCapability.TotalVfCount));
        Assert.Equal(Errno.ERANGE, core.WriteNumVfs("4").Error.Errno);
        Assert.Equal(Errno.EINVAL, Physical.SetVirtualFunctions(4).Error.Errno);
    }

    [Fact]
    public void Hardware_makes_no_others_while_there_are_some()
    {
        core.WriteNumVfs("1");

        Assert.Equal(Errno.EBUSY, Physical.SetVirtualFunctions(2).Error.Errno);
    }

    [Fact]
    public void A_VF_lives_a_whole_life_under_its_PFs_core_SV_22()
    {
        core.WriteNumVfs("1");
        var made = zoo.Devices.Register(zoo.Bus.Functions[1]).Value;

        Assert.Same(core, made.PhysicalFunction);
        Assert.True(made.Open().IsOk);
        Assert.Equal((1, AcceleratorRegister.MagicValue), (core.TokenUsers, made.Read32(AcceleratorBar.Registers, AcceleratorRegister.Magic)));
        Assert.True(made.Reset().IsOk);
        made.Close();
        Assert.Empty(made.CheckInvariants());
        Assert.True(made.Unregister().IsComplete);
    }

    [Fact]
    public void Its_engine_runs_as_that_of_a_VF_that_was_there_from_the_start()
    {
        core.WriteNumVfs("1");
        using var running = new RunningAccelerator(zoo.Time, (AcceleratorVirtualFunction)zoo.Bus.Functions[1]);

        running.RunTicks(10);

        Assert.Equal(20UL, running.Head);
    }

    [Fact]
    public void A_reset_of_the_PF_turns_its_VFs_off_and_the_host_that_restores_its_config_space_turns_them_on_as_at_power_on()
    {
        core.WriteNumVfs("1");
        var made = zoo.Bus.Functions[1];
        made.Command(PciCommand.BusMaster);

        zoo.Bus.ResetLink(Physical.Address);
        Assert.Equal((Errno.EIO, uint.MaxValue), (made.Read(0), made.Config32(ConfigOffset.Command)));
        Physical.Config16(Sriov + SriovCapability.NumVfs, 1);
        Physical.Config16(Sriov + SriovCapability.Control, 9);

        Assert.Equal((Errno.None, PciCommand.None), (made.Read(0), made.Command()));
    }

    [Fact]
    public void A_RESET_of_the_PF_by_its_core_leaves_its_VFs_there_SV_24()
    {
        core.WriteNumVfs("1");
        core.Open();

        Assert.True(core.Reset().IsOk);

        Assert.Equal((1, Errno.None), (core.VirtualFunctions, zoo.Bus.Functions[1].Read(0)));
        core.Close();
        Assert.Equal(Errno.None, zoo.Bus.Functions[1].Read(0));
    }

    [Fact]
    public void A_PF_that_is_pulled_out_comes_back_without_the_VFs_that_it_had()
    {
        core.WriteNumVfs("2");

        zoo.Bus.PullOut(Physical.Address);
        Assert.Empty(zoo.Bus.Functions);
        zoo.Bus.PutBack(core.Address);

        Assert.Equal(["fab0:01:00.0"], zoo.Addresses);
        Assert.Equal(Errno.ENODEV, zoo.Bus.PutBack(Zoo.At("fab0:01:00.1")).Error.Errno);
    }

    [Fact]
    public void A_VF_that_was_pulled_out_comes_back_under_the_PF_that_made_it_and_no_other()
    {
        core.WriteNumVfs("1");
        var address = Zoo.At("fab0:01:00.1");
        zoo.Bus.PullOut(address);
        Assert.True(zoo.Bus.PutBack(address).IsOk);
        zoo.Bus.PullOut(address);

        core.WriteNumVfs("0");

        Assert.Equal(Errno.ENODEV, zoo.Bus.PutBack(address).Error.Errno);
    }

    [Fact]
    public void VFs_that_were_there_from_the_start_are_their_PFs_for_good()
    {
        using var asToday = new Zoo(new EmulatedBusOptions(1, 3, AcceleratorState.Granule));
        var physical = asToday.First;

        Assert.Equal((Errno.EBUSY, Errno.None), (physical.SetVirtualFunctions(1).Error.Errno, physical.SetVirtualFunctions(0).Error.Errno));
        Assert.Equal(4, asToday.Bus.Functions.Count);
        Assert.True(VfioPciCore.Register(physical).IsOk);
        Assert.Equal(Errno.EBUSY, asToday.Devices.Register(physical).Error.Errno);                        // LC-3: somebody else's VFs
    }

    [Fact]
    public void The_accelerators_of_the_options_can_be_left_to_the_host_too()
    {
        using var host = new Zoo(new EmulatedBusOptions(2, 3, AcceleratorState.Granule) { VirtualFunctionsAtStart = false });

        Assert.Equal(["fab0:01:00.0", "fab0:02:00.0"], host.Addresses);
        Assert.True(host.Bus.Functions[1].SetVirtualFunctions(3).IsOk);
    }

    public void Dispose() => zoo.Dispose();
}
