using System.Text;
using System.Text.Json;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Linux.Tests.Lab;

/// <summary>
/// The guest of scripts/vfio-lab: a real kernel and its VFIO over QEMU's devices. A test that needs it is skipped anywhere else, and has the trait
/// by which the lab finds it.
/// </summary>
internal static class LabMachine
{
    public const string Trait = "Needs";
    public const string Name = "vfio-lab";

    public static readonly PciAddress Igb = PciAddress.Parse("0000:01:00.0");
    public static readonly PciAddress E1000e = PciAddress.Parse("0000:02:00.0");
    public static readonly PciAddress Nvme = PciAddress.Parse("0000:03:00.0");
    public static readonly PciAddress Edu = PciAddress.Parse("0000:04:00.0");
    public static readonly PciAddress VirtioNet = PciAddress.Parse("0000:05:00.0");
    public static readonly PciAddress FirstOfCard = PciAddress.Parse("0000:06:00.0");
    public static readonly PciAddress SecondOfCard = PciAddress.Parse("0000:06:00.1");
    public static readonly PciAddress BehindBridge = PciAddress.Parse("0000:08:01.0");

    public static void Require() => Assert.SkipUnless(
        Environment.GetEnvironmentVariable("FABRIC_VFIO_LAB") == "1", "It needs a machine whose devices may be taken: scripts/vfio-lab/run.sh test.");

    /// <summary>Tells QEMU's monitor something; what it says is returned.</summary>
    public static string Monitor(string command)
    {
        using var port = new FileStream("/dev/virtio-ports/monitor", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        using var reader = new StreamReader(port, Encoding.UTF8, false, 1, leaveOpen: true);
        var id = Guid.NewGuid().ToString();
        Send(port, """{"execute":"qmp_capabilities"}""");
        Send(port, JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["execute"] = "human-monitor-command",
            ["id"] = id,
            ["arguments"] = new Dictionary<string, string> { ["command-line"] = command },
        }));
        while (reader.ReadLine() is { } line)
        {
            if (line.Contains(id, StringComparison.Ordinal))
                return line;
        }

        throw new IOException("The monitor's port has ended.");
    }

    public static string Sysfs(PciAddress function, string attribute) =>
        File.ReadAllText(Path.Combine("/sys/bus/pci/devices", function.ToString(), attribute)).Trim();

    private static void Send(FileStream port, string line) => port.Write(Encoding.UTF8.GetBytes(line + "\n"));
}

/// <summary>Functions of the lab that a class of tests has taken, given back when it is done.</summary>
public sealed class TakenFunctions : IDisposable
{
    private readonly string journal = Directory.CreateTempSubdirectory("fabric-bindings-").FullName;
    private readonly DriverBinding binding;

    public TakenFunctions() => binding = new DriverBinding(journal, new FunctionUses());

    public void Take(params ReadOnlySpan<PciAddress> functions)
    {
        LabMachine.Require();
        foreach (var function in functions)
            Assert.Equal(VfioResult.Ok, binding.Take(function));
    }

    public void GiveBack()
    {
        LabMachine.Require();
        foreach (var function in binding.Taken)
            Assert.Equal(VfioResult.Ok, binding.GiveBack(function));
    }

    public void Dispose()
    {
        foreach (var function in binding.Taken)
            Assert.Equal(VfioResult.Ok, binding.GiveBack(function));
        Directory.Delete(journal, recursive: true);
    }
}
