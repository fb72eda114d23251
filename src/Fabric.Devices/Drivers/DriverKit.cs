namespace Fabric.Devices.Drivers;

/// <summary>What drivers are written against: this assembly, and what its public types show of Fabric.Vfio, Fabric.Pci and Akka.</summary>
public static class DriverKit
{
    /// <summary>Goes up with every change that a driver compiled before it would not survive.</summary>
    public const int Version = 1;
}

/// <summary>
/// Says which kit a plugin was compiled against: <c>[assembly: DriverKit]</c>, without arguments. The compiler puts in the version that it sees;
/// a host reads it before it loads anything of the plugin, and refuses another one than its own.
/// </summary>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class DriverKitAttribute(int version = DriverKit.Version) : Attribute
{
    public int Version { get; } = version;
}
