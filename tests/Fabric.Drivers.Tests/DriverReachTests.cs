using System.Collections.Immutable;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Mtty;

namespace Fabric.Drivers.Tests;

/// <summary>Drivers reach a core by messages alone: read from what their assemblies use.</summary>
public sealed class DriverReachTests
{
    [Fact]
    public void The_drivers_in_the_box_keep_to_the_kit() => Assert.Empty(BeyondKit(typeof(MttyDriver).Assembly.Location));

    /// <summary>These tests look at hardware: they would be no driver.</summary>
    [Fact]
    public void Who_touches_hardware_or_the_machine_of_the_core_is_seen()
    {
        var beyond = BeyondKit(typeof(DriverReachTests).Assembly.Location);

        Assert.Contains("Fabric.Vfio.IPciFunction", beyond);
        Assert.Contains("Fabric.Devices.HostActor", beyond);
    }

    [Fact]
    public void What_is_no_assembly_is_told_apart() =>
        Assert.Throws<BadImageFormatException>(() => DriverReach.BeyondKit(new MemoryStream([1, 2, 3, 4])));

    private static ImmutableArray<string> BeyondKit(string path)
    {
        using var assembly = File.OpenRead(path);
        return DriverReach.BeyondKit(assembly);
    }
}
