using System.Reflection;
using System.Runtime.Loader;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.Drivers.Plugins;

/// <summary>
/// The assemblies of one plugin. The kit's are the host's own, so that a driver is a driver on both sides; the framework's come with the runtime;
/// all others are the plugin's, from its folder, whatever the host has of the same name.
/// </summary>
internal sealed class PluginLoadContext : AssemblyLoadContext
{
    private static readonly Dictionary<string, Assembly> Kit = new[]
    {
        typeof(VariantDriver).Assembly, typeof(IPciFunction).Assembly, typeof(PciIds).Assembly, typeof(ActorBase).Assembly,
    }.ToDictionary(static assembly => assembly.GetName().Name!);

    /// <summary>By their names, what the runtime brings with it.</summary>
    private static readonly HashSet<string> Framework = [.. FrameworkNames()];

    private readonly AssemblyDependencyResolver resolver;
    private readonly PluginOptions options;
    private readonly string folder;

    /// <exception cref="InvalidOperationException">Its .deps.json cannot be understood.</exception>
    public PluginLoadContext(string main, PluginOptions options)
        : base($"driver {Path.GetFileName(Path.GetDirectoryName(main))}", isCollectible: true)
    {
        this.options = options;
        folder = Path.GetDirectoryName(main)!;
        resolver = new AssemblyDependencyResolver(main);
    }

    public static bool IsShared(string name) => Kit.ContainsKey(name);

    /// <summary>Named like an assembly of the fabric's own, shared or not.</summary>
    public static bool IsReserved(string name) =>
        IsShared(name) || name.StartsWith("Fabric.", StringComparison.OrdinalIgnoreCase) ||
        name.Equals("fabricd", StringComparison.OrdinalIgnoreCase) || name.Equals("fabric", StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether a reference of the plugin leads anywhere.</summary>
    public bool CanResolve(AssemblyName name) => IsShared(name.Name!) || Framework.Contains(name.Name!) || Own(name) is not null;

    /// <summary>From bytes that were read once, so that what was checked is what is loaded. Symbols come along where they lie beside it.</summary>
    public Assembly Load(byte[] image, string file)
    {
        var symbols = Path.ChangeExtension(file, ".pdb");
        using var assembly = new MemoryStream(image, writable: false);
        using var pdb = File.Exists(symbols) && PluginFiles.Read(symbols, options) is { IsOk: true } read
            ? new MemoryStream(read.Value, writable: false)
            : null;
        return LoadFromStream(assembly, pdb);
    }

    protected override Assembly? Load(AssemblyName assemblyName)
    {
        var name = assemblyName.Name!;
        if (Kit.TryGetValue(name, out var shared))
            return shared;
        if (Own(assemblyName) is { } file)
        {
            var read = PluginFiles.Read(file, options);
            return read.IsOk ? Load(read.Value, file) : throw new FileLoadException(read.Error.Sentence, file);
        }

        // Null: the runtime's. Anything else that the host happens to have is not the plugin's to use.
        return Framework.Contains(name) || !string.IsNullOrEmpty(assemblyName.CultureName)
            ? null
            : throw new FileNotFoundException($"{name} is not in the folder of the plugin.", name);
    }

    protected override IntPtr LoadUnmanagedDll(string unmanagedDllName) =>
        resolver.ResolveUnmanagedDllToPath(unmanagedDllName) is { } file && PluginFiles.IsWithin(file, folder)
            ? LoadUnmanagedDllFromPath(file)
            : IntPtr.Zero;

    private string? Own(AssemblyName name) => resolver.ResolveAssemblyToPath(name) is { } file && PluginFiles.IsWithin(file, folder) ? file : null;

    /// <summary>
    /// All that is trusted and does not lie beside the program; where the runtime lies there too, what is named as it names its own.
    /// </summary>
    private static IEnumerable<string> FrameworkNames()
    {
        var trusted = (AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES") as string ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);
        var isSelfContained = PluginFiles.IsWithin(typeof(object).Assembly.Location, AppContext.BaseDirectory);
        return from path in trusted
               let name = Path.GetFileNameWithoutExtension(path)
               where isSelfContained ? IsNamedAsFramework(name) : !PluginFiles.IsWithin(path, AppContext.BaseDirectory)
               select name;
    }

    private static bool IsNamedAsFramework(string name) =>
        name.StartsWith("System", StringComparison.Ordinal) || name.StartsWith("Microsoft.", StringComparison.Ordinal) ||
        name is "netstandard" or "mscorlib";
}
