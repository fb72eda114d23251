using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Hardware.Linux.Tests;

public sealed class FunctionUsesTests : IDisposable
{
    private static readonly PciAddress Function = PciAddress.Parse("0000:3b:00.0");

    private readonly SysfsTree tree = new();
    private readonly string proc;
    private readonly RecordedFunction function;

    public FunctionUsesTests()
    {
        proc = Directory.CreateDirectory(Path.Combine(tree.Root, "proc")).FullName;
        function = tree.Add("0000:3b:00.0");
        tree.Add("0000:3c:00.0");
    }

    public void Dispose() => tree.Dispose();

    [Fact]
    public void A_function_with_nothing_behind_it_is_free() => Assert.Empty(Uses());

    [Fact]
    public void A_disk_that_nobody_mounts_is_free()
    {
        tree.AddClass("block", "nvme0n1", function, ("dev", "259:0"));
        Proc("self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw");

        Assert.Empty(Uses());
    }

    [Fact]
    public void A_partition_that_is_mounted_is_named_with_where()
    {
        tree.AddClass("block", "nvme0n1", function, ("dev", "259:0"));
        tree.AddClass("block", "nvme0n1p2", function, ("dev", "259:2"));
        Proc("self/mountinfo", "22 1 259:2 / /var rw - ext4 /dev/nvme0n1p2 rw");

        Assert.Equal(["nvme0n1p2 is mounted at /var"], Uses());
    }

    [Fact]
    public void A_volume_on_top_of_a_disk_counts_for_it()
    {
        tree.AddClass("block", "nvme0n1", function, ("dev", "259:0"));
        Directory.CreateDirectory(Path.Combine(function.Folder, "nvme0n1", "holders", "dm-0"));
        var mapped = Directory.CreateDirectory(Path.Combine(tree.Root, "class", "block", "dm-0")).FullName;
        File.WriteAllText(Path.Combine(mapped, "dev"), "253:0\n");
        Proc("self/mountinfo", "22 1 253:0 / / rw - ext4 /dev/mapper/root rw");

        Assert.Equal(["dm-0 is mounted at /"], Uses());
    }

    [Fact]
    public void Swap_counts_too()
    {
        tree.AddClass("block", "nvme0n1p3", function, ("dev", "259:3"));
        Proc("swaps", "Filename Type Size Used Priority\n/dev/nvme0n1p3 partition 1024 0 -2");

        Assert.Equal(["nvme0n1p3 is swapped to"], Uses());
    }

    [Fact]
    public void An_interface_with_a_route_is_named()
    {
        tree.AddClass("net", "eth0", function);
        Proc("net/route", "Iface Destination Gateway\neth0 00000000 0100000A");

        Assert.Equal(["interface eth0 has routes"], Uses());
    }

    [Fact]
    public void An_interface_that_is_up_with_no_route_but_those_that_all_have_is_free()
    {
        tree.AddClass("net", "eth0", function);
        Proc("net/route", "Iface Destination Gateway");
        Proc("net/ipv6_route", "fe800000000000000000000000000000 40 0 00 0 00000100 00000001 00000000 00000001 eth0");

        Assert.Empty(Uses());
    }

    [Fact]
    public void A_route_of_another_functions_interface_is_none_of_ours()
    {
        tree.AddClass("net", "eth1", new RecordedFunction(Path.Combine(tree.Root, "devices", "pci0000:00", "0000:3c:00.0")));
        Proc("net/route", "Iface Destination Gateway\neth1 00000000 0100000A");

        Assert.Empty(Uses());
    }

    private ImmutableArray<string> Uses() => new FunctionUses(tree.Root, proc).Of(Function);

    private void Proc(string file, string text)
    {
        var path = Path.Combine(proc, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text + "\n");
    }
}
