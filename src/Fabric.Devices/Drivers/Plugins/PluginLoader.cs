using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.CompilerServices;
using Fabric.Vfio;

namespace Fabric.Devices.Drivers.Plugins;

/// <summary>
/// Loads one plugin, as far as it can be without running a driver of it. Its code runs here (static constructors), so this may take for ever: it
/// is called on a thread that can be spared. What is refused leaves nothing behind.
/// </summary>
internal static class PluginLoader
{
    /// <summary>
    /// Errors: those of <see cref="PluginFiles.Check"/>; EINVAL no assembly, no driver in it, another kit, a name of the fabric's own; EPERM it
    /// reaches past the kit; ENOENT a reference that is not there; EIO its own code failed.
    /// </summary>
    public static VfioResult<Plugin> Load(string folder, PluginOptions options)
    {
        var main = PluginFiles.Check(folder, options);
        if (!main.IsOk)
            return main.Error;
        var bytes = PluginFiles.Read(main.Value, options);
        if (!bytes.IsOk)
            return bytes.Error;
        var image = PluginImage.Read(bytes.Value);
        if (!image.IsOk)
            return image.Error;
        if (Refusal(image.Value) is { } refused)
            return refused;
        PluginLoadContext context;
        try
        {
            context = new PluginLoadContext(main.Value, options);
        }
        catch (InvalidOperationException wrong)
        {
            return new VfioError(Errno.EINVAL, $"Its .deps.json cannot be understood: {Line(wrong.Message)}");
        }

        var plugin = Load(context, image.Value, bytes.Value, main.Value);
        if (!plugin.IsOk)
            context.Unload();
        return plugin;
    }

    private static VfioError? Refusal(PluginImage image)
    {
        if (PluginLoadContext.IsReserved(image.Name.Name!))
            return new VfioError(Errno.EINVAL, $"Its assembly is named {image.Name.Name}, as the fabric's own are; give it another name.");
        if (!image.UsesKit)
            return NoDriver;
        return image switch
        {
            { Kit: null } => new VfioError(
                Errno.EINVAL, "It does not say which driver kit it was compiled against; put [assembly: DriverKit] into it."),
            { Kit: not DriverKit.Version } => new VfioError(
                Errno.EINVAL,
                $"It was compiled against version {image.Kit} of the driver kit, and this host has {DriverKit.Version}; compile it anew."),
            { BeyondKit: [var beyond, ..] } => new VfioError(
                Errno.EPERM, $"It uses {beyond}, which is not the driver kit's; a driver reaches its core by messages alone."),
            _ => null,
        };
    }

    private static VfioResult<Plugin> Load(PluginLoadContext context, PluginImage image, byte[] bytes, string main)
    {
        if (image.References.FirstOrDefault(reference => !context.CanResolve(reference)) is { } missing)
        {
            return new VfioError(
                Errno.ENOENT, $"It needs {missing.Name} {missing.Version}, which is not in its folder; publish it with what it depends on.");
        }

        var name = Path.GetFileName(Path.GetDirectoryName(main))!;
        try
        {
            var assembly = context.Load(bytes, main);
            var drivers = ImmutableArray.CreateBuilder<PluginDriver>();
            foreach (var type in DriverClass.In(assembly))
            {
                RuntimeHelpers.RunClassConstructor(type.TypeHandle);
                var read = DriverClass.Read(type, name);
                if (!read.IsOk)
                    return read.Error;
                drivers.Add(read.Value);
            }

            return drivers.Count == 0
                ? NoDriver
                : new Plugin(name, image.Name.Version?.ToString() ?? "0.0.0.0", context, drivers.ToImmutable());
        }
        catch (ReflectionTypeLoadException incomplete)
        {
            return Failed(incomplete.LoaderExceptions.OfType<Exception>().FirstOrDefault() ?? incomplete);
        }
        // Whatever its code throws is the plugin's failure, not the host's.
        catch (Exception thrown)
        {
            return Failed(thrown);
        }
    }

    private static VfioError NoDriver => new(Errno.EINVAL, "There is no driver in it: no class of its assembly has [PciDriver].");

    private static VfioError Failed(Exception thrown) => new(Errno.EIO, $"Loading it failed: {Line(DriverClass.Words(thrown))}");

    private static string Line(string text) => string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).TrimEnd('.') + ".";
}
