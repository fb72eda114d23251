using CsCheck;
using Fabric.Devices.Hardware;
using Fabric.Devices.Mdev;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Mdev;

/// <summary>Mediated devices as a bus, alone and beside another.</summary>
public sealed class MdevBusTests
{
    private static readonly Guid One = new("00000000-0000-4000-8000-000000000001");

    /// <summary>Folded it is the same as <see cref="One"/>.</summary>
    private static readonly Guid LikeOne = new("00000000-0000-4000-8001-000000000000");

    private readonly FakeParent parent = new(capacity: 100);
    private readonly MdevBus bus;
    private readonly List<BusEvent> events = [];

    public MdevBusTests()
    {
        bus = new MdevBus(parent);
        bus.ReportTo(events.Add);
    }

    [Fact]
    public void One_appears_in_a_domain_of_its_own_where_its_UUID_puts_it()
    {
        var made = Make(One);

        Assert.Equal(new PciAddress(0xfabd, 0xc0, 0, 1), made.Function.Address);
        Assert.Same(made.Function, Assert.IsType<FunctionAppeared>(Assert.Single(events)).Function);
        Assert.Same(made, bus.Find(made.Function.Address));
    }

    [Fact]
    public void Where_another_one_is_it_is_the_next()
    {
        Assert.Equal(MdevBus.AddressOf(One), MdevBus.AddressOf(LikeOne));
        var first = Make(One);

        var second = Make(LikeOne);

        Assert.Equal(first.Function.Address.RoutingId + 1, second.Function.Address.RoutingId);
    }

    [Fact]
    public void A_UUID_is_there_once()
    {
        Make(One);

        Assert.Equal(Errno.EEXIST, bus.Create(parent.Name, parent.Half, One).Error.Errno);
    }

    [Fact]
    public void What_came_to_nothing_leaves_its_address_free()
    {
        parent.Sick = VfioResult.Fail(Errno.EIO, "It is stuck.");
        Assert.Equal(parent.Sick.Error, bus.Create(parent.Name, parent.Half, One).Error);
        parent.Sick = VfioResult.Ok;
        parent.Throws = true;
        Assert.Throws<InvalidOperationException>(() => bus.Create(parent.Name, parent.Half, One));
        parent.Throws = false;

        Assert.Equal(MdevBus.AddressOf(One), Make(LikeOne).Function.Address);
        Assert.Single(bus.Functions);
    }

    [Fact]
    public void What_its_parent_does_not_take_back_stays()
    {
        var made = Make(One);
        parent.Sick = VfioResult.Fail(Errno.EIO, "It is stuck.");

        Assert.Equal(parent.Sick, bus.Remove(made.Function.Address));

        Assert.Single(bus.Functions);
    }

    [Fact]
    public void Two_parents_of_one_name_are_none() => Assert.Throws<ArgumentException>(() => new MdevBus(new FakeParent(), new FakeParent()));

    [Fact]
    public void It_has_no_link_no_slot_and_no_power_of_its_own()
    {
        var address = Make(One).Function.Address;
        IPciBus asBus = bus;

        Assert.Equal([address], bus.RecoveryScope(address));
        Assert.Equal(Errno.ENODEV, bus.ResetLink(address).Error.Errno);
        Assert.Null(asBus.HotResetScopeOf(address));
        Assert.Empty(asBus.PowerScopeOf(address));
    }

    [Fact]
    public void However_they_come_and_go_each_has_an_address_to_itself_and_keeps_it() =>
        Gen.Select(Gen.Bool, Gen.Int[0, 7]).Array[0, 60].Sample(steps =>
        {
            var walked = new MdevBus(parent);
            var there = new Dictionary<Guid, PciAddress>();
            foreach (var (comes, which) in steps)
            {
                // All of one address, so that they are in each other's way.
                var uuid = new Guid(which, 0, 0, 0, (byte)which, 0, 0, 0, 0, 0, 0);
                if (comes && walked.Create(parent.Name, parent.Half, uuid) is { IsOk: true, Value: var made })
                    there.Add(uuid, made.Function.Address);
                else if (!comes && there.Remove(uuid, out var address))
                    Assert.True(walked.Remove(address).IsOk);
                Assert.Equal(there.Values.Order(), walked.Functions.Select(function => function.Address));
                Assert.Equal(there.Keys.Order(), parent.Made.Order());
            }

            foreach (var address in there.Values)
                Assert.True(walked.Remove(address).IsOk);
        }, threads: 1);

    // ---- Beside another --------------------------------------------------------------------------------------------------------------

    [Fact]
    public void Beside_another_bus_each_is_asked_for_its_own()
    {
        var first = new FailingBus(new FakeFunction());
        var there = Make(One).Function.Address;
        var both = new CompositeBus(first, MdevBus.Has, bus);

        Assert.Equal([new FakeFunction().Address, there], both.Functions.Select(function => function.Address));
        Assert.Equal([new FakeFunction().Address], both.RecoveryScope(new FakeFunction().Address));
        Assert.Equal([there], both.RecoveryScope(there));
        Assert.True(both.ResetLink(new FakeFunction().Address).IsOk);
        Assert.Equal(Errno.EOPNOTSUPP, both.Remove(new FakeFunction().Address).Error.Errno);
        Assert.True(both.Remove(there).IsOk);
        Assert.Same(first.Functions, both.Functions);
    }

    [Fact]
    public void Whatever_happens_on_either_is_told()
    {
        var first = new FailingBus(new FakeFunction());
        var told = new List<BusEvent>();
        new CompositeBus(first, MdevBus.Has, bus).ReportTo(told.Add);

        Make(One);
        first.Happen(new FunctionVanished(new FakeFunction().Address));

        Assert.Equal([typeof(FunctionAppeared), typeof(FunctionVanished)], told.Select(happened => happened.GetType()));
    }

    [Fact]
    public void Faults_are_made_where_that_bus_can_make_them()
    {
        var there = Make(One).Function.Address;
        var both = new CompositeBus(new FailingBus(new FakeFunction()), MdevBus.Has, bus);

        Assert.True(both.InjectAer(new FakeFunction().Address, AerSeverity.Fatal).IsOk);
        Assert.Equal(Errno.EOPNOTSUPP, both.InjectAer(there, AerSeverity.Fatal).Error.Errno);
        Assert.Equal(Errno.EOPNOTSUPP, both.Hang(there, HangPoint.Reset).Error.Errno);
        Assert.Equal(Errno.EOPNOTSUPP, new CompositeBus(new FakeBus(), MdevBus.Has, bus).PullOut(default).Error.Errno);
    }

    private MdevInstance Make(Guid uuid) => bus.Create(parent.Name, parent.Half, uuid).Value;
}
