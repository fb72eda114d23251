using System.Collections.Immutable;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Runtime.InteropServices;
using Fabric.Vfio;

namespace Fabric.Devices.Drivers.Plugins;

/// <summary>What is read of an assembly without loading it.</summary>
/// <param name="Kit">The version of the kit that it was compiled against; null where it does not say.</param>
/// <param name="UsesKit">Something of the kit is referenced.</param>
/// <param name="BeyondKit">What it uses of the fabric and a driver may not.</param>
internal sealed record PluginImage(
    AssemblyName Name, ImmutableArray<AssemblyName> References, int? Kit, bool UsesKit, ImmutableArray<string> BeyondKit)
{
    private static readonly string KitAssembly = typeof(VariantDriver).Assembly.GetName().Name!;

    /// <summary>Errors: EINVAL no assembly, or a native one.</summary>
    public static VfioResult<PluginImage> Read(byte[] bytes)
    {
        try
        {
            using var file = new PEReader(ImmutableCollectionsMarshal.AsImmutableArray(bytes));
            if (!file.HasMetadata)
                return NoAssembly("it is a native library");
            var reader = file.GetMetadataReader();
            if (!reader.IsAssembly)
                return NoAssembly("it is a module without a manifest");
            var references = reader.AssemblyReferences.Select(handle => reader.GetAssemblyReference(handle).GetAssemblyName()).ToImmutableArray();
            using var again = new MemoryStream(bytes, writable: false);
            return new PluginImage(
                reader.GetAssemblyDefinition().GetAssemblyName(), references, KitOf(reader), references.Any(static name => name.Name == KitAssembly),
                DriverReach.BeyondKit(again));
        }
        catch (BadImageFormatException) when (bytes.AsSpan().StartsWith("\u007fELF"u8))
        {
            return NoAssembly("it is a native library");
        }
        catch (BadImageFormatException broken)
        {
            return NoAssembly(broken.Message);
        }
        // Of bytes that are nearly an assembly.
        catch (Exception broken) when (broken is InvalidOperationException or ArgumentException or OverflowException or IndexOutOfRangeException)
        {
            return NoAssembly(broken.Message);
        }
    }

    private static VfioError NoAssembly(string why) => new(Errno.EINVAL, $"It is not a .NET assembly: {why.TrimEnd('.')}.");

    private static int? KitOf(MetadataReader reader)
    {
        foreach (var handle in reader.GetAssemblyDefinition().GetCustomAttributes())
        {
            var attribute = reader.GetCustomAttribute(handle);
            if (attribute.Constructor.Kind != HandleKind.MemberReference ||
                reader.GetMemberReference((MemberReferenceHandle)attribute.Constructor).Parent is not { Kind: HandleKind.TypeReference } parent)
            {
                continue;
            }

            var type = reader.GetTypeReference((TypeReferenceHandle)parent);
            if (!reader.StringComparer.Equals(type.Name, nameof(DriverKitAttribute)) ||
                !reader.StringComparer.Equals(type.Namespace, typeof(DriverKitAttribute).Namespace!))
            {
                continue;
            }

            // Its one argument, an int (ECMA-335, II.23.3), in every version of the kit.
            var value = reader.GetBlobReader(attribute.Value);
            if (value.RemainingBytes >= sizeof(ushort) + sizeof(int) && value.ReadUInt16() == 1)
                return value.ReadInt32();
        }

        return null;
    }
}
