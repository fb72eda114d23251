namespace Fabric.Hardware.Linux.Tests;

/// <summary>The part of a kernel that binds drivers, behind a <see cref="SysfsTree"/> whose files are all that there is.</summary>
/// <param name="native">The driver that a function has where nothing overrides it.</param>
internal sealed class BindingKernel(SysfsTree tree, string native)
{
    /// <summary>What a driver does not take, by name; the kernel's log would say why.</summary>
    public string? Refusing { get; set; }

    /// <summary>Attributes that were written to, without the tree's root.</summary>
    public List<string> Written { get; } = [];

    public void Write(string attribute, string text)
    {
        Written.Add(Path.GetRelativePath(tree.Root, attribute));
        switch (Path.GetFileName(attribute))
        {
            case "driver_override":
                File.WriteAllText(attribute, text + "\n");
                break;
            case "unbind":
                File.Delete(Path.Combine(FolderOf(text), "driver"));
                break;
            case "drivers_probe":
                var wanted = File.ReadAllText(Path.Combine(FolderOf(text), "driver_override")).Trim();
                var driver = wanted is "" or "(null)" ? native : wanted;
                if (driver != Refusing)
                    File.CreateSymbolicLink(Path.Combine(FolderOf(text), "driver"), $"../../../bus/pci/drivers/{driver}");
                break;
            default:
                throw new IOException($"Nobody writes to {attribute}.");
        }
    }

    private string FolderOf(string function) => Path.Combine(tree.Root, "bus", "pci", "devices", function);
}
