using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;

namespace Fabric.Devices.Drivers;

/// <summary>
/// What a driver may touch of the fabric: the kit, the protocol and plain values. The machine of the core, the mailbox around it and the hardware
/// under it are not among them: what stands in front of a core reaches it by messages alone. Read from an assembly's metadata, without loading it.
/// </summary>
public static class DriverReach
{
    private const string Core = "Fabric.Vfio.Core";

    /// <summary>Plain values of the core's that a message may bring a driver, and what it may give the kit.</summary>
    private static readonly FrozenSet<string> Values = new[]
    {
        "Fabric.Vfio.Core.RegionMapping", "Fabric.Vfio.Core.IDeviceRegion", "Fabric.Vfio.Core.CoreFeature",
        "Fabric.Vfio.Core.FeatureOperations", "Fabric.Vfio.Core.SriovChange", "Fabric.Vfio.Core.IoEvent", "Fabric.Vfio.Core.DmaBuf",
        "Fabric.Vfio.Core.DmaBufRange", "Fabric.Vfio.Core.HotResetInfo", "Fabric.Vfio.Core.HotResetDependent", "Fabric.Vfio.Core.LostConfig", "Fabric.Vfio.Core.Inspection.InspectNode",
    }.ToFrozenSet();

    private static readonly FrozenSet<string> Closed = new[]
    {
        "Fabric.Vfio.IPciFunction", "Fabric.Vfio.IPciBus", "Fabric.Vfio.IFaultInjection", "Fabric.Vfio.IFunctionInterrupts", "Fabric.Vfio.DmaMap",
        "Fabric.Devices.VfioPciCoreActor", "Fabric.Devices.CoreContext", "Fabric.Devices.CoreSlot", "Fabric.Devices.CoreCall",
        "Fabric.Devices.CoreReplied", "Fabric.Devices.HostActor", "Fabric.Devices.HostOptions",
    }.ToFrozenSet();

    /// <summary>The types that an assembly uses and a driver may not, in order; empty where it keeps to the kit.</summary>
    /// <exception cref="BadImageFormatException">It is no assembly.</exception>
    public static ImmutableArray<string> BeyondKit(Stream assembly)
    {
        using var image = new PEReader(assembly, PEStreamOptions.LeaveOpen);
        if (!image.HasMetadata)
            throw new BadImageFormatException("It has no metadata.");
        var metadata = image.GetMetadataReader();
        return
        [
            .. metadata.TypeReferences
                .Select(handle => NameOf(metadata, handle))
                .Where(IsBeyondKit)
                .Distinct()
                .Order(StringComparer.Ordinal),
        ];
    }

    private static bool IsBeyondKit(string type) =>
        Closed.Contains(type) ||
        type.StartsWith("Fabric.Vfio.Files.", StringComparison.Ordinal) ||
        (type.StartsWith(Core + ".", StringComparison.Ordinal) && !Values.Contains(type));

    /// <summary>Of a nested type, that of the type around it.</summary>
    private static string NameOf(MetadataReader metadata, TypeReferenceHandle handle)
    {
        var type = metadata.GetTypeReference(handle);
        return type.ResolutionScope.Kind == HandleKind.TypeReference
            ? NameOf(metadata, (TypeReferenceHandle)type.ResolutionScope)
            : $"{metadata.GetString(type.Namespace)}.{metadata.GetString(type.Name)}";
    }
}
