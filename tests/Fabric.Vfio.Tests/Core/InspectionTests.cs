using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Core.Inspection;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class InspectionTests
{
    /// <summary>The state variables of contract §11.1 that are the core's, and where the tree has them.</summary>
    public static TheoryData<string> Variables() =>
    [
        "registration", "open", "power/state", "power/low power engaged", "power/wake target", "memory/usable", "memory/blocked by",
        "session/dma buffers", "session/irq type", "session/interrupts", "session/config", "bars", "reset works", "needs reset",
        "sriov/vf token", "sriov/vf token users", "sriov/physical function", "sriov/active", "references", "device set", "session/ioeventfds",
    ];

    [Theory]
    [MemberData(nameof(Variables))]
    public void Every_state_variable_is_in_the_tree(string path)
    {
        InspectNode? node = Card.Open(Card.Physical()).Inspect();
        foreach (var name in path.Split('/'))
            node = node?[name];

        Assert.NotNull(node);
    }

    [Fact]
    public void The_tree_reads_as_indented_lines_with_hexadecimal_where_that_is_natural()
    {
        var text = Card.Open(Card.Physical()).Inspect().ToString();

        Assert.StartsWith("0000:3b:00.0\n  driver: vfio-pci\n  registration: Registered\n", text, StringComparison.Ordinal);
        Assert.Contains("    bar 0\n      kind: Memory64\n      size: 0x2000\n      claim: ok\n      mappable: yes\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Inspecting_wakes_nothing_and_changes_nothing()
    {
        var function = Card.Physical();
        var core = Card.Open(function);
        core.EnterLowPower(new FakeTarget());

        Assert.Equal(core.Inspect().ToString(), core.Inspect().ToString());
        Assert.Equal(PciPowerState.D3Hot, function.PowerState);
    }

    [Fact]
    public void A_closed_device_can_be_inspected() => Assert.Equal("none", Card.Closed(Card.Physical()).Inspect()["session"]!.Value);

    [Fact]
    public void A_closed_function_that_masters_the_bus_breaks_INV_3()
    {
        var function = Card.Physical();
        var core = Card.Closed(function, options: new CoreOptions(DisableIdleD3: true));
        core.Healthy();

        function.Put16(ConfigOffset.Command, (ushort)PciCommand.BusMaster);

        Assert.Equal(["INV-3"], core.CheckInvariants());
    }

    [Fact]
    public void Checking_the_invariants_of_an_open_device_allocates_nothing()
    {
        var core = Card.Open(new CardFunction(Card.At(0), FunctionTraits.VirtualFunction));
        core.CheckInvariants();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
            core.CheckInvariants();

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Requests_that_are_made_all_the_time_allocate_nothing()
    {
        var core = OpenDevice.On(new QuietFunction());
        var mapping = core.Map(0).Value;
        var data = new byte[64];
        All();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            All();

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void All()
        {
            core.GetInfo();
            core.GetRegionInfo(0);
            core.GetRegionInfo(99);
            core.GetIrqInfo(0);
            core.Read(RegionIndex.Config, 0, data.AsSpan(0, 4));
            core.Read(0, 0, data.AsSpan(0, 4));
            core.Read(0, 0x1000, data);
            core.Write(0, 0, data);
            core.Write(RegionIndex.Rom, 0, data);
            mapping.Read(0, data);
            mapping.Write(0, data);
        }
    }

    /// <summary>A function that answers with nothing and allocates nothing.</summary>
    private sealed class QuietFunction : IPciFunction
    {
        private readonly byte[] config = new byte[ConfigOffset.ExtendedSize];

        public PciAddress Address => default;

        public PciIds Ids => default;

        public FunctionTraits Traits => FunctionTraits.VirtualFunction;

        public int? IommuGroup => 1;

        public int ConfigSize => config.Length;

        public IReadOnlyList<PciBar> Bars { get; } =
            [new(BarKind.Memory64, 0x1000), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

        public IReadOnlyList<string> ResetMethods => ["flr"];

        public void ReadConfig(int offset, Span<byte> destination) => config.AsSpan(offset, destination.Length).CopyTo(destination);

        public void WriteConfig(int offset, ReadOnlySpan<byte> source) => source.CopyTo(config.AsSpan(offset));

        public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination) => VfioResult.Ok;

        public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source) => VfioResult.Ok;

        public VfioResult Reset(string method) => VfioResult.Ok;

        public void ConnectDma(IDmaSpace? space)
        {
        }
    }
}
