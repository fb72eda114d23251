namespace Fabric.Hardware.Linux.Tests;

/// <summary>A sysfs of a test's own, in a temporary folder: the folders, files and links of the kernel's that matter.</summary>
internal sealed class SysfsTree : IDisposable
{
    public const string EmptyBar = "0x0000000000000000 0x0000000000000000 0x0000000000000000";

    public string Root { get; } = Directory.CreateTempSubdirectory("fabric-sysfs-").FullName;

    public SysfsInventory Inventory => new(Root);

    private string Devices => Path.Combine(Root, "bus", "pci", "devices");

    /// <summary>A network function with a driver and nothing optional, linked to from the bus.</summary>
    public RecordedFunction Add(string address)
    {
        var folder = Directory.CreateDirectory(Path.Combine(Root, "devices", "pci0000:00", address)).FullName;
        Link(address, Path.Combine("..", "..", "..", "devices", "pci0000:00", address));
        return new RecordedFunction(folder)
            .Attribute("modalias", "pci:v00008086d00001889sv000015B3sd00000042bc02sc08i01")
            .Attribute("resource", string.Join('\n', Enumerable.Repeat(EmptyBar, 7)))
            .Attribute("numa_node", "-1")
            .Link("driver", "../../../bus/pci/drivers/iavf");
    }

    /// <summary>The folder of a driver of the bus.</summary>
    public string AddDriver(string name) => Directory.CreateDirectory(Path.Combine(Root, "bus", "pci", "drivers", name)).FullName;

    /// <summary>A device of a class behind a function, linked to from the class.</summary>
    public void AddClass(string kind, string name, RecordedFunction behind, params (string Name, string Text)[] attributes)
    {
        var folder = Directory.CreateDirectory(Path.Combine(behind.Folder, name)).FullName;
        foreach (var attribute in attributes)
            File.WriteAllText(Path.Combine(folder, attribute.Name), attribute.Text + "\n");
        File.CreateSymbolicLink(Path.Combine(Directory.CreateDirectory(Path.Combine(Root, "class", kind)).FullName, name), folder);
    }

    /// <summary>An entry on the bus, whatever it points to.</summary>
    public void Link(string entry, string target)
    {
        Directory.CreateDirectory(Devices);
        File.CreateSymbolicLink(Path.Combine(Devices, entry), target);
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}

/// <summary>The folder of one function in a <see cref="SysfsTree"/>.</summary>
internal sealed class RecordedFunction(string folder)
{
    public string Folder => folder;

    public RecordedFunction Attribute(string name, string text)
    {
        File.WriteAllText(Path.Combine(folder, name), text + "\n");
        return this;
    }

    public RecordedFunction Link(string name, string target)
    {
        Without(name);
        File.CreateSymbolicLink(Path.Combine(folder, name), target);
        return this;
    }

    public RecordedFunction Without(string name)
    {
        File.Delete(Path.Combine(folder, name));
        return this;
    }

    /// <summary>An attribute that cannot be read, not even by root, whom file modes do not stop.</summary>
    public RecordedFunction Unreadable(string name)
    {
        Without(name);
        Directory.CreateDirectory(Path.Combine(folder, name));
        return this;
    }
}
