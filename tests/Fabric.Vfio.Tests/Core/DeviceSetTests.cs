using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;

namespace Fabric.Vfio.Tests.Core;

/// <summary>A slot of two functions, in groups 1 and 2.</summary>
public sealed class DeviceSetTests
{
    private readonly CardFunction left = new(Card.At(1)) { IommuGroup = 1 };
    private readonly CardFunction right = new(Card.At(1, 1)) { IommuGroup = 2 };
    private readonly CardBus bus;
    private readonly VfioPciDevices devices;

    public DeviceSetTests()
    {
        bus = CardBus.OneSlot(left, right);
        devices = new VfioPciDevices(bus);
    }

    private static GroupOwnership BothGroups => new(1, 2);

    // ---- Which set (LC-50) -----------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(HotResetKind.Slot, 1, true)]
    [InlineData(HotResetKind.Slot, 2, false)]
    [InlineData(HotResetKind.Bus, 1, true)]
    [InlineData(HotResetKind.Bus, 2, true)]
    public void Functions_of_one_slot_or_bus_reset_are_one_set_LC_50(HotResetKind kind, int device, bool together)
    {
        var other = new CardFunction(Card.At(device, 1));
        var shared = new CardBus(left, other);
        shared.Scope = new HotResetScope(kind, [left.Address, other.Address]);
        var devices = new VfioPciDevices(shared);

        Assert.Equal(together, devices.Register(left).Value.Set == devices.Register(other).Value.Set);
    }

    [Fact]
    public void A_function_that_only_its_own_reset_affects_is_a_set_of_its_own_LC_50()
    {
        bus.Scope = null;

        Assert.NotSame(devices.Register(left).Value.Set, devices.Register(right).Value.Set);
    }

    // ---- GET_PCI_HOT_RESET_INFO (IO-60, IO-61) ---------------------------------------------------------------------------------------

    [Fact]
    public void Hot_reset_info_without_slot_and_bus_reset_is_ENODEV_IO_60()
    {
        var core = Open(left);
        bus.Scope = null;

        Assert.Equal(Errno.ENODEV, core.GetHotResetInfo(new GroupOwnership()).Error.Errno);
    }

    [Fact]
    public void Hot_reset_info_by_group_lists_the_group_of_every_function_registered_or_not_IO_60_IO_61()
    {
        var info = Open(left).GetHotResetInfo(new GroupOwnership()).Value;

        Assert.Equal([new HotResetDependent(1, left.Address), new HotResetDependent(2, right.Address)], info.Dependents);
        Assert.False(info.ByDeviceId || info.AllOwned);
    }

    [Fact]
    public void Hot_reset_info_by_group_with_a_function_that_has_none_is_EPERM_IO_60()
    {
        var loose = new CardFunction(Card.At(1, 2)) { IommuGroup = null };
        var wider = CardBus.OneSlot(left, loose);
        var core = new VfioPciDevices(wider).Register(left).Value;
        core.Open();

        Assert.Equal(Errno.EPERM, core.GetHotResetInfo(new GroupOwnership()).Error.Errno);
        Assert.True(core.GetHotResetInfo(new ContextOwnership([], [])).IsOk);
    }

    /// <summary>How the right function stands to the caller's iommufd, its id in the reply, and whether the reply says that all is owned.</summary>
    public static TheoryData<string, int, bool> Standings() => new()
    {
        { "bound here", 12, true },
        { "group owned", HotResetDependent.OwnedNotBound, true },
        { "bound elsewhere", HotResetDependent.NotOwned, false },
        { "not owned", HotResetDependent.NotOwned, false },
        { "not vfio's", HotResetDependent.NotOwned, false },
    };

    [Theory]
    [MemberData(nameof(Standings))]
    public void Hot_reset_info_by_device_id_says_how_each_stands_to_the_caller_IO_61(string standing, int id, bool allOwned)
    {
        var core = Open(left);
        if (standing != "not vfio's")
            devices.Register(right);

        var info = core.GetHotResetInfo(Context(standing)).Value;

        Assert.Equal([new HotResetDependent(11, left.Address), new HotResetDependent(id, right.Address)], info.Dependents);
        Assert.Equal((true, allOwned), (info.ByDeviceId, info.AllOwned));
    }

    // ---- PCI_HOT_RESET: who may (IO-62, LC-51, LC-54) --------------------------------------------------------------------------------

    /// <summary>How the right function stands, what the caller shows, and what comes of it.</summary>
    public static TheoryData<string, string, Errno> Ownership() => new()
    {
        { "registered", "both groups", Errno.None },
        { "registered", "left group", Errno.EINVAL },
        { "registered", "right group", Errno.EINVAL },
        { "registered", "no group", Errno.EINVAL },
        { "registered", "three groups", Errno.EINVAL },
        { "registered", "bound here", Errno.None },
        { "registered", "group owned", Errno.None },
        { "registered", "bound elsewhere", Errno.EINVAL },
        { "registered", "not owned", Errno.EINVAL },
        { "registered", "bound here with groups", Errno.EINVAL },
        { "open", "both groups", Errno.None },
        { "open", "left group", Errno.EINVAL },
        { "open", "bound here", Errno.None },
        { "open", "bound elsewhere", Errno.EINVAL },
        { "not vfio's", "both groups", Errno.EINVAL },
        { "not vfio's", "bound here", Errno.EINVAL },
        { "not vfio's", "group owned", Errno.EINVAL },
        { "no scope", "both groups", Errno.ENODEV },
        { "no scope", "bound here", Errno.ENODEV },
        { "no scope", "no group", Errno.EINVAL },
    };

    [Theory]
    [MemberData(nameof(Ownership))]
    public void A_hot_reset_needs_every_function_to_be_vfios_and_the_callers_LC_51_LC_54_IO_62(string standing, string caller, Errno expected)
    {
        var core = Open(left);
        if (standing == "open")
            Open(right);
        else if (standing != "not vfio's")
            devices.Register(right);
        if (standing == "no scope")
            bus.Scope = null;

        Assert.Equal(expected, core.HotReset(Caller(caller)).Error.Errno);
        Assert.Equal(expected == Errno.None ? 1 : 0, bus.HotResets);
    }

    // ---- PCI_HOT_RESET: what it does (LC-52) -----------------------------------------------------------------------------------------

    [Fact]
    public void A_hot_reset_carries_config_space_over_and_tells_the_drivers_LC_52_IO_51()
    {
        var log = new ResetLog();
        var core = devices.Register(left, new DriverDeclaration("variant") { Resets = log }).Value;
        core.Open();
        Open(right);
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);
        log.Told.Clear();

        Assert.True(core.HotReset(BothGroups).IsOk);

        Assert.True(left.Has(PciCommand.MemorySpace | PciCommand.BusMaster));
        Assert.Equal(["prepare", "done"], log.Told);
        Assert.Empty(left.Violations.Concat(right.Violations));
    }

    [Fact]
    public void A_hot_reset_revokes_buffers_while_it_lasts_LC_52_IO_91()
    {
        var core = Open(left);
        var other = Open(right);
        var buffer = other.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
        var revokedDuring = false;
        right.DuringReset = () => revokedDuring = buffer.IsRevoked;

        core.HotReset(BothGroups);

        Assert.True(revokedDuring);
        Assert.False(buffer.IsRevoked);
    }

    [Fact]
    public void A_hot_reset_leaves_buffers_revoked_where_memory_decode_is_off_LC_52()
    {
        var core = Open(left);
        var other = Open(right);
        var buffer = other.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
        other.WriteCommand(PciCommand.None);

        core.HotReset(BothGroups);

        Assert.True(buffer.IsRevoked);
        other.Healthy();
    }

    [Fact]
    public void A_hot_reset_wakes_closed_members_and_lets_them_sleep_again_LC_52()
    {
        var core = Open(left);
        devices.Register(right);
        var during = PciPowerState.D3Hot;
        right.DuringReset = () => during = right.PowerState;

        core.HotReset(BothGroups);

        Assert.Equal((PciPowerState.D0, PciPowerState.D3Hot), (during, right.PowerState));
    }

    [Fact]
    public void A_hot_reset_takes_members_out_of_D3_LC_52()
    {
        var core = Open(left);
        var other = Open(right);
        other.WritePowerState(PciPowerState.D3Hot);

        core.HotReset(BothGroups);

        Assert.True(other.IsMemoryUsable);
        other.Healthy();
    }

    [Fact]
    public void A_hot_reset_under_an_access_is_EBUSY_and_nothing_was_reset_LC_52()
    {
        var core = Open(left);
        var other = Open(right);
        var buffer = core.GetDmaBuf(CardFunction.MemoryBar, 0, [new DmaBufRange(0, 0x1000)]).Value;
        var mapping = other.Map(CardFunction.MemoryBar).Value;
        var meanwhile = Errno.None;
        right.DuringAccess = () => meanwhile = new OtherThread<Errno>(() => core.HotReset(BothGroups).Error.Errno).Result;

        mapping.Read(0, new byte[4]);

        Assert.Equal((Errno.EBUSY, 0), (meanwhile, bus.HotResets));
        Assert.False(buffer.IsRevoked);
    }

    [Fact]
    public void A_member_that_does_not_wake_fails_the_hot_reset_LC_52()
    {
        var core = Open(left);
        devices.Register(right);
        right.IsStuck = true;

        Assert.Equal(Errno.EIO, core.HotReset(BothGroups).Error.Errno);
        Assert.Equal(0, bus.HotResets);
    }

    [Theory]
    [InlineData(Errno.EAGAIN)]
    [InlineData(Errno.EIO)]
    public void What_the_bus_says_is_what_the_caller_gets_and_config_space_is_as_before_LC_52_IO_62(Errno errno)
    {
        var core = Open(left);
        Open(right);
        core.WriteCommand(PciCommand.MemorySpace | PciCommand.BusMaster);
        bus.OnHotReset = errno;

        Assert.Equal(errno, core.HotReset(BothGroups).Error.Errno);
        Assert.True(left.Has(PciCommand.BusMaster | PciCommand.MemorySpace));
    }

    [Fact]
    public void Mappings_work_again_after_a_hot_reset_LC_52()
    {
        var core = Open(left);
        var mapping = Open(right).Map(CardFunction.MemoryBar).Value;

        core.HotReset(BothGroups);

        Assert.True(mapping.Read(0, new byte[4]).IsOk);
    }

    [Fact]
    public void An_access_that_meets_a_reset_waits_for_its_end_INV_1()
    {
        var core = Open(left);
        var mapping = core.Map(CardFunction.MemoryBar).Value;
        OtherThread<Errno>? access = null;
        left.DuringReset = () =>
        {
            access = new OtherThread<Errno>(() => mapping.Read(0, new byte[4]).Error.Errno);
            Assert.True(access.Waits);
        };

        core.Reset();

        Assert.Equal(Errno.None, access!.Result);
        Assert.Empty(left.Violations);
    }

    // ---- The set is reset at the last close (LC-53) ----------------------------------------------------------------------------------

    [Fact]
    public void The_last_close_resets_the_set_where_somebody_needs_it_LC_53()
    {
        var (first, last) = (Open(left), Open(right));
        left.OnReset = Errno.EIO;
        first.Close();
        Assert.Equal((true, 0), (first.NeedsReset, bus.HotResets));

        last.Close();

        Assert.Equal((false, false, 1), (first.NeedsReset, last.NeedsReset, bus.HotResets));
    }

    [Fact]
    public void The_last_close_resets_nothing_where_nobody_needs_it_LC_53()
    {
        var (first, last) = (Open(left), Open(right));
        first.Close();
        last.Close();

        Assert.Equal(0, bus.HotResets);
    }

    [Fact]
    public void The_set_is_not_reset_while_a_function_of_it_is_not_vfios_LC_53()
    {
        var core = Open(left);
        left.OnReset = Errno.EIO;
        core.Close();

        Assert.Equal((true, 0), (core.NeedsReset, bus.HotResets));
    }

    [Fact]
    public void A_reset_of_the_set_that_fails_is_silent_and_the_need_stays_LC_53()
    {
        devices.Register(right);
        var core = Open(left);
        left.OnReset = Errno.EIO;
        bus.OnHotReset = Errno.EAGAIN;

        core.Close();

        Assert.True(core.NeedsReset);
        Assert.False(core.IsOpen);
    }

    [Fact]
    public void The_reset_of_the_set_finds_every_member_awake_and_leaves_it_asleep_LC_53()
    {
        devices.Register(right);
        var core = Open(left);
        left.OnReset = Errno.EIO;
        var during = PciPowerState.D3Hot;
        right.DuringReset = () => during = right.PowerState;

        core.Close();

        Assert.Equal((PciPowerState.D0, PciPowerState.D3Hot, PciPowerState.D3Hot), (during, left.PowerState, right.PowerState));
    }

    // ---- One at a time (INV-7) -------------------------------------------------------------------------------------------------------

    [Fact]
    public void Opening_one_member_waits_for_the_reset_of_another_LC_50_INV_7()
    {
        var core = Open(left);
        var other = devices.Register(right).Value;
        OtherThread<Errno>? opening = null;
        left.DuringReset = () =>
        {
            opening = new OtherThread<Errno>(() => other.Open().Error.Errno);
            Assert.True(opening.Waits);
        };

        core.HotReset(BothGroups);
        left.DuringReset = () => { };

        Assert.Equal(Errno.None, opening!.Result);
    }

    private VfioPciCore Open(CardFunction function)
    {
        var core = devices.Register(function).Value;
        Assert.True(core.Open().IsOk);
        return core;
    }

    private IHotResetOwnership Caller(string caller) => caller switch
    {
        "both groups" => BothGroups,
        "left group" => new GroupOwnership(1),
        "right group" => new GroupOwnership(2),
        "no group" => new GroupOwnership(),
        "three groups" => new GroupOwnership(1, 2, 3),
        "bound here with groups" => new ContextOwnership([new(left.Address, 11), new(right.Address, 12)], [], groups: 2),
        _ => Context(caller),
    };

    private ContextOwnership Context(string standing)
    {
        KeyValuePair<PciAddress, int> mine = new(left.Address, 11);
        return standing switch
        {
            "bound here" => new ContextOwnership([mine, new(right.Address, 12)], []),
            "group owned" => new ContextOwnership([mine], [2]),
            "bound elsewhere" => new ContextOwnership([mine], [2], [right.Address]),
            _ => new ContextOwnership([mine], []),
        };
    }
}
