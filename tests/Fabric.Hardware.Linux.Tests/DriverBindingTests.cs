using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Linux.Tests;

/// <summary>
/// On a tree where writing changes files and nothing else: what is refused, and what is left of what does not work. The lab has it work.
/// </summary>
public sealed class DriverBindingTests : IDisposable
{
    private static readonly PciAddress Function = PciAddress.Parse("0000:3b:00.0");

    private readonly SysfsTree tree = new();
    private readonly string journal;
    private readonly string proc;

    public DriverBindingTests()
    {
        journal = Path.Combine(tree.Root, "bindings");
        proc = Directory.CreateDirectory(Path.Combine(tree.Root, "proc")).FullName;
    }

    private DriverBinding Binding => new(journal, new FunctionUses(tree.Root, proc), tree.Root);

    public void Dispose() => tree.Dispose();

    [Fact]
    public void A_function_that_is_not_there_is_ENODEV() => Assert.Equal(Errno.ENODEV, Binding.Take(Function).Error.Errno);

    [Fact]
    public void Without_vfio_pci_nothing_is_taken_and_the_remedy_is_said()
    {
        tree.Add("0000:3b:00.0");

        var refused = Binding.Take(Function);

        Assert.Equal(Errno.EINVAL, refused.Error.Errno);
        Assert.Contains("modprobe vfio-pci", refused.Error.Sentence, StringComparison.Ordinal);
    }

    [Fact]
    public void A_function_that_vfio_pci_has_already_is_left_as_it_is()
    {
        AddBindable().Link("driver", "../../../bus/pci/drivers/vfio-pci");

        Assert.Equal(VfioResult.Ok, Binding.Take(Function));
        Assert.Empty(Binding.Taken);
    }

    [Fact]
    public void What_the_host_needs_is_EBUSY_and_nothing_is_touched()
    {
        var function = AddBindable();
        tree.AddClass("block", "nvme0n1", function, ("dev", "259:0"));
        var self = Directory.CreateDirectory(Path.Combine(proc, "self")).FullName;
        File.WriteAllText(Path.Combine(self, "mountinfo"), "22 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n");

        var refused = Binding.Take(Function);

        Assert.Equal(Errno.EBUSY, refused.Error.Errno);
        Assert.Contains("nvme0n1 is mounted at /", refused.Error.Sentence, StringComparison.Ordinal);
        Assert.Equal("(null)", File.ReadAllText(Path.Combine(function.Folder, "driver_override")).Trim());
        Assert.Empty(Binding.Taken);
    }

    [Fact]
    public void What_is_taken_is_vfio_pcis_and_given_back_it_is_what_it_was()
    {
        var function = AddBindable().Attribute("driver_override", "iavf");
        var binding = new DriverBinding(journal, new FunctionUses(tree.Root, proc), tree.Root) { Write = new BindingKernel(tree, "iavf").Write };

        Assert.Equal(VfioResult.Ok, binding.Take(Function));
        Assert.Equal("vfio-pci", tree.Inventory.Find(Function)!.DriverName);
        Assert.Equal(VfioResult.Ok, binding.GiveBack(Function));

        Assert.Equal("iavf", tree.Inventory.Find(Function)!.DriverName);
        Assert.Equal("iavf", File.ReadAllText(Path.Combine(function.Folder, "driver_override")).Trim());
        Assert.Empty(binding.Taken);
    }

    [Fact]
    public void What_would_be_refused_can_be_asked_and_touches_nothing()
    {
        AddBindable();
        var kernel = new BindingKernel(tree, "iavf");

        Assert.Equal(VfioResult.Ok, new DriverBinding(journal, new FunctionUses(tree.Root, proc), tree.Root) { Write = kernel.Write }.WhyNot(Function));
        Assert.Empty(kernel.Written);
        Assert.False(Directory.Exists(journal));
    }

    [Fact]
    public void What_the_kernel_does_not_bind_is_as_it_was()
    {
        var function = AddBindable().Attribute("driver_override", "special");

        // The tree has no kernel: the driver stays.
        var refused = Binding.Take(Function);

        Assert.Equal(Errno.EINVAL, refused.Error.Errno);
        Assert.Contains("It has been given back", refused.Error.Sentence, StringComparison.Ordinal);
        Assert.Equal("special", File.ReadAllText(Path.Combine(function.Folder, "driver_override")).Trim());
        Assert.Empty(Binding.Taken);
    }

    [Fact]
    public void What_a_process_that_was_killed_had_taken_is_given_back_by_the_next()
    {
        var function = AddBindable().Attribute("driver_override", "vfio-pci");
        Directory.CreateDirectory(journal);
        File.WriteAllText(Path.Combine(journal, "0000:3b:00.0.json"), """{"Driver":"iavf","Override":null}""");

        Assert.Equal([Function], Binding.Taken);
        Assert.Equal(VfioResult.Ok, Binding.GiveBack(Function));
        Assert.Equal("", File.ReadAllText(Path.Combine(function.Folder, "driver_override")).Trim());
        Assert.Empty(Binding.Taken);
    }

    [Fact]
    public void What_was_not_taken_cannot_be_given_back()
    {
        AddBindable();

        Assert.Equal(Errno.ENOENT, Binding.GiveBack(Function).Error.Errno);
    }

    [Fact]
    public void A_journal_that_cannot_be_read_is_EIO_and_stays()
    {
        AddBindable();
        Directory.CreateDirectory(journal);
        File.WriteAllText(Path.Combine(journal, "0000:3b:00.0.json"), "{");

        Assert.Equal(Errno.EIO, Binding.GiveBack(Function).Error.Errno);
        Assert.Equal([Function], Binding.Taken);
    }

    private RecordedFunction AddBindable()
    {
        tree.AddDriver("vfio-pci");
        var driver = tree.AddDriver("iavf");
        File.WriteAllText(Path.Combine(driver, "unbind"), "");
        File.WriteAllText(Path.Combine(tree.Root, "bus", "pci", "drivers_probe"), "");
        return tree.Add("0000:3b:00.0").Attribute("driver_override", "(null)");
    }
}
