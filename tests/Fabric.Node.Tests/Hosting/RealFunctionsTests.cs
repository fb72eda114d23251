using System.Collections.Concurrent;
using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Hardware.Linux;
using Fabric.Hardware.Linux.Tests;
using Fabric.Migration.Fleet;
using Fabric.Migration.Wire;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;
using Fabric.Pci;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Hosting;

/// <summary>
/// Binding as an operator asks for it, on a tree with a kernel that binds and has no device files: what can be opened is shown in the lab.
/// </summary>
public sealed class RealFunctionsTests : IAsyncLifetime
{
    private const string Device = "0000:3b:00.0";
    private const string Beside = "0000:3b:00.1";
    private const string By = "ops@desk";

    private static readonly PciAddress Address = PciAddress.Parse(Device);

    private readonly SysfsTree tree = new();
    private readonly TemporaryFolder data = new();
    private readonly ActorSystem system = ActorSystem.Create("real-functions");
    private readonly ConcurrentQueue<ImmutableArray<DeviceStatus>> shown = [];
    private readonly List<RealFunctions> opened = [];
    private readonly BindingKernel kernel;
    private readonly string proc;

    public RealFunctionsTests()
    {
        kernel = new BindingKernel(tree, "iavf");
        proc = Directory.CreateDirectory(Path.Combine(tree.Root, "proc")).FullName;
        tree.AddDriver("vfio-pci");
        tree.AddDriver("iavf");
        Add(Device);
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await system.Terminate();
        opened.ForEach(static functions => functions.Dispose());
        tree.Dispose();
        data.Dispose();
    }

    [Fact]
    public async Task A_plan_says_what_would_be_and_touches_nothing()
    {
        var planned = Assert.IsType<OperationPlanned>(await AskAsync(new BindFunction(Device, false, false, By) { PlanOnly = true }));

        Assert.Equal($"{Device} would be given to vfio-pci and handed out", planned.Would);
        Assert.Empty(planned.Affects);
        Assert.Empty(kernel.Written);
    }

    [Fact]
    public async Task What_shares_its_group_and_is_in_the_way_is_named_before_anything_is_touched()
    {
        Add(Beside);

        var refused = await RefusedAsync(new BindFunction(Device, false, false, By));

        Assert.Equal("EBUSY", refused.Errno);
        Assert.Contains($"shares IOMMU group 7 with {Beside} (iavf)", refused.Sentence, StringComparison.Ordinal);
        Assert.Contains("--group", refused.Sentence, StringComparison.Ordinal);
        Assert.Empty(kernel.Written);
    }

    [Fact]
    public async Task With_its_group_a_plan_names_what_is_taken_with_it()
    {
        Add(Beside);

        var planned = Assert.IsType<OperationPlanned>(await AskAsync(new BindFunction(Device, false, Group: true, By) { PlanOnly = true }));

        Assert.Equal([$"{Beside}, which is in its IOMMU group and would be taken from its driver"], planned.Affects);
    }

    [Fact]
    public async Task What_cannot_be_opened_is_as_it_was_with_all_of_its_group()
    {
        Add(Beside);

        await RefusedAsync(new BindFunction(Device, false, Group: true, By));

        Assert.Contains(Path.Combine("bus", "pci", "drivers_probe"), kernel.Written);
        Assert.All(tree.Inventory.Enumerate(), static function => Assert.Equal("iavf", function.DriverName));
        using var next = Open();
        Assert.All(tree.Inventory.Enumerate(), static function => Assert.Equal("iavf", function.DriverName));
    }

    [Fact]
    public async Task What_the_machine_needs_is_taken_only_by_force()
    {
        var function = new RecordedFunction(Path.Combine(tree.Root, "devices", "pci0000:00", Device));
        tree.AddClass("block", "nvme0n1", function, ("dev", "259:0"));
        File.WriteAllText(Path.Combine(Directory.CreateDirectory(Path.Combine(proc, "self")).FullName, "mountinfo"), "22 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n");

        var refused = await RefusedAsync(new BindFunction(Device, Force: false, false, By));

        Assert.Equal("EBUSY", refused.Errno);
        Assert.Contains("nvme0n1 is mounted at /", refused.Sentence, StringComparison.Ordinal);
        Assert.IsType<OperationPlanned>(await AskAsync(new BindFunction(Device, Force: true, false, By) { PlanOnly = true }));
    }

    [Theory]
    [InlineData("third", "EINVAL", "is not a PCI address")]
    [InlineData("0000:3b:1f.7", "ENODEV", "This machine has no real function 0000:3b:1f.7")]
    public async Task What_is_no_function_is_refused(string device, string errno, string says)
    {
        var refused = await RefusedAsync(new BindFunction(device, false, false, By));

        Assert.Equal(errno, refused.Errno);
        Assert.Contains(says, refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_function_that_no_IOMMU_serves_is_refused_with_the_remedy()
    {
        new RecordedFunction(Path.Combine(tree.Root, "devices", "pci0000:00", Device)).Without("iommu_group");

        var refused = await RefusedAsync(new BindFunction(Device, false, false, By));

        Assert.Contains("intel_iommu=on", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_no_operator_had_taken_is_given_back_to_nobody()
    {
        Assert.Equal("ENOENT", (await RefusedAsync(new UnbindFunction(Device, false, By))).Errno);
    }

    [Fact]
    public async Task What_the_settings_name_is_not_an_operators_to_give_back()
    {
        var refused = await RefusedAsync(new UnbindFunction(Device, false, By), Settings with { Functions = [Device] });

        Assert.Equal("EINVAL", refused.Errno);
        Assert.Contains("hardware.linux.functions", refused.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_host_that_does_not_look_at_its_functions_says_so()
    {
        Assert.Contains("hardware.linux.enabled", (await RefusedAsync(new BindFunction(Device, false, false, By), Settings with { Enabled = false })).Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public void What_an_operator_had_taken_the_next_daemon_takes_again_and_its_end_gives_back()
    {
        new BindingRequests(Path.Combine(data.Path, "bindings", "requests.json")).Add(Address, force: false, By);
        using (Open())
            Assert.Equal("vfio-pci", tree.Inventory.Find(Address)!.DriverName);

        Assert.Equal("iavf", tree.Inventory.Find(Address)!.DriverName);
        using (Open())
            Assert.Equal("vfio-pci", tree.Inventory.Find(Address)!.DriverName);
    }

    [Fact]
    public async Task Given_back_it_has_its_driver_and_stays_with_it()
    {
        new BindingRequests(Path.Combine(data.Path, "bindings", "requests.json")).Add(Address, force: false, By);

        Assert.IsType<OperationDone>(await AskAsync(new UnbindFunction(Device, false, By)));

        Assert.Equal("iavf", tree.Inventory.Find(Address)!.DriverName);
        using var next = Open();
        Assert.Equal("iavf", tree.Inventory.Find(Address)!.DriverName);
    }

    [Fact]
    public async Task What_cannot_be_given_back_is_taken_again_and_stays_asked_for()
    {
        new BindingRequests(Path.Combine(data.Path, "bindings", "requests.json")).Add(Address, force: false, By);
        kernel.Refusing = "iavf";

        await RefusedAsync(new UnbindFunction(Device, false, By));

        Assert.Equal("vfio-pci", tree.Inventory.Find(Address)!.DriverName);
        Assert.True(new BindingRequests(Path.Combine(data.Path, "bindings", "requests.json")).Has(Address));
    }

    [Fact]
    public async Task After_an_operation_the_host_is_shown_its_functions_anew()
    {
        await RefusedAsync(new UnbindFunction(Device, false, By));

        while (!shown.Any(static functions => functions.Any(static function => function is { Driver: "iavf", State: DeviceState.Inventory })))
            await Task.Delay(5, TestContext.Current.CancellationToken);
    }

    private LinuxSettings Settings => new() { Sysfs = tree.Root };

    private RealFunctions Open(LinuxSettings? settings = null) => OpenOrNot(settings ?? Settings)!;

    private RealFunctions? OpenOrNot(LinuxSettings settings) => RealFunctions.Open(
        settings, data.Path,
        new DriverBinding(Path.Combine(data.Path, "bindings"), new FunctionUses(tree.Root, proc), tree.Root) { Write = kernel.Write },
        NullLogger.Instance);

    private async Task<OperationRefused> RefusedAsync(IBindingOperation operation, LinuxSettings? settings = null) =>
        Assert.IsType<OperationRefused>(await AskAsync(operation, settings));

    private async Task<IWireMessage> AskAsync(IBindingOperation operation, LinuxSettings? settings = null)
    {
        var functions = OpenOrNot(settings ?? Settings);
        if (functions is not null)
            opened.Add(functions);
        var devices = system.ActorOf(Props.Create(() => new Shown(shown)));
        var actor = system.ActorOf(RealFunctionsActor.Props(functions, devices));
        return await actor.Ask<IWireMessage>(operation, TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
    }

    /// <summary>In place of the host actor.</summary>
    private sealed class Shown : ReceiveActor
    {
        public Shown(ConcurrentQueue<ImmutableArray<DeviceStatus>> shown)
        {
            Receive<ShowFunctions>(message => shown.Enqueue(message.Functions));
            Receive<ListDevices>(_ => Sender.Tell(new DeviceList([])));
        }
    }

    /// <summary>A function of group 7 that iavf has.</summary>
    private void Add(string address)
    {
        tree.Add(address).Attribute("driver_override", "(null)").Link("iommu_group", "../../../kernel/iommu_groups/7");
        var group = Directory.CreateDirectory(Path.Combine(tree.Root, "kernel", "iommu_groups", "7", "devices")).FullName;
        File.CreateSymbolicLink(Path.Combine(group, address), Path.Combine(tree.Root, "devices", "pci0000:00", address));
    }
}
