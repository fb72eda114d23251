using Fabric.Devices.Drivers;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Fabric.Devices.Tests.Drivers;

/// <summary>Plugins that are compiled as they are needed, into folders of a test's own.</summary>
internal sealed class PluginFolder : IDisposable
{
    /// <summary>What the compiler of a driver sees: the runtime and the kit.</summary>
    private static readonly MetadataReference[] References =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(System.IO.Path.PathSeparator)
            .Where(static path => !path.StartsWith(AppContext.BaseDirectory, StringComparison.Ordinal))
            .Select(static path => MetadataReference.CreateFromFile(path)),
        .. new[] { "Fabric.Devices", "Fabric.Vfio", "Fabric.Pci", "Akka" }
            .Select(static name => MetadataReference.CreateFromFile(System.IO.Path.Combine(AppContext.BaseDirectory, $"{name}.dll"))),
    ];

    public PluginFolder() => Path = Directory.CreateTempSubdirectory("fabric-plugins-").FullName;

    public string Path { get; }

    /// <summary>A driver that answers ioctl 1 with a number, for the functions of the tests' cards.</summary>
    public static string Driver(string name = "acme", int answer = 42, string more = "", string construct = "", string attribute = "", string head = "", string implements = "") => $$"""
        using System;
        using Fabric.Devices;
        using Fabric.Devices.Drivers;
        using Fabric.Vfio;
        [assembly: DriverKit]
        {{head}}
        namespace Acme;
        [PciDriver("{{name}}", Match = "1b36:fab0"{{attribute}})]
        public sealed class AcmeDriver : VariantDriver{{implements}}
        {
            public AcmeDriver(DriverContext context) : base(context)
            {
                {{construct}}
                On<DeviceIoctl>(ioctl => ioctl.Number == 1, _ => Reply(new DeviceIoctlDone({{answer}}, default)));
            }
            {{more}}
        }
        """;

    public string PathOf(params string[] parts) => System.IO.Path.Combine([Path, .. parts]);

    /// <summary>Compiles a plugin into a folder of its own.</summary>
    /// <param name="assembly">Its assembly's name; that of the folder when null.</param>
    /// <param name="file">Its file's name; that of the assembly when null.</param>
    public PluginFolder Add(string plugin, string source, string? assembly = null, string? file = null, params byte[][] references)
    {
        Directory.CreateDirectory(PathOf(plugin));
        File.WriteAllBytes(PathOf(plugin, $"{file ?? assembly ?? plugin}.dll"), Compile(assembly ?? plugin, source, references));
        return this;
    }

    public PluginFolder AddBytes(string plugin, string file, byte[] bytes)
    {
        Directory.CreateDirectory(PathOf(plugin));
        File.WriteAllBytes(PathOf(plugin, file), bytes);
        return this;
    }

    public static byte[] Compile(string assembly, string source, params byte[][] references)
    {
        var compiled = CSharpCompilation.Create(
            assembly,
            [CSharpSyntaxTree.ParseText(source)],
            [.. References, .. references.Select(static bytes => MetadataReference.CreateFromImage(bytes))],
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true));
        using var bytes = new MemoryStream();
        var emitted = compiled.Emit(bytes);
        Assert.True(emitted.Success, string.Join('\n', emitted.Diagnostics));
        return bytes.ToArray();
    }

    /// <summary>A stand-in for another kit: the attribute alone, with a version of its own, in an assembly named like the kit's.</summary>
    public static byte[] OtherKit(int version) => Compile(typeof(VariantDriver).Assembly.GetName().Name!, $$"""
        namespace Fabric.Devices.Drivers
        {
            [System.AttributeUsage(System.AttributeTargets.Assembly)]
            public sealed class DriverKitAttribute(int version = {{version}}) : System.Attribute { public int Version => version; }
        }
        """);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
