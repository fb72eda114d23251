using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.Loader;
using System.Runtime.Versioning;
using Fabric.Devices.Drivers;
using Fabric.Devices.Drivers.Plugins;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Drivers;

/// <summary>One plugin at a time: what is taken, and each way in which one can be broken, with its reason.</summary>
[UnsupportedOSPlatform("windows")]
public sealed class PluginLoaderTests : IDisposable
{
    private readonly PluginFolder folder = new();

    private PluginOptions Options => new(folder.Path) { LargestFile = 1 << 20, LargestPlugin = 1 << 21, MostFiles = 20 };

    // ---- Taken -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_class_with_the_attribute_is_a_driver_with_what_it_says_of_itself()
    {
        folder.Add("acme", PluginFolder.Driver(attribute: ", Model = \"card\", Priority = 3, InFrontOf = \"other\""));

        var driver = Assert.Single(Load("acme").Value.Drivers);

        Assert.Equal(("acme", "card", 3, "other", "acme"), (driver.Name, driver.Model, driver.Priority, driver.InFrontOf, driver.Plugin));
        Assert.Equal([new DriverId(0x1b36, 0xfab0)], driver.Ids);
        Assert.Null(driver.Probe);
    }

    [Fact]
    public void Its_ids_may_be_many_and_some_of_them_for_overrides_alone()
    {
        folder.Add("acme", PluginFolder.Driver().Replace("1b36:fab0", "1b36:fab0, vfio_pci:15b3:* *:*/0302xx", StringComparison.Ordinal));

        Assert.Equal("1b36:fab0 vfio_pci:15b3:* *:*/0302xx", string.Join(' ', Assert.Single(Load("acme").Value.Drivers).Ids));
    }

    [Fact]
    public void Its_probe_is_called_through_the_registration()
    {
        folder.Add("acme", PluginFolder.Driver(
            implements: ", IDriverProbe",
            more: "public static VfioResult Probe(DriverContext context) => VfioResult.Fail(Errno.ENODEV, $\"not {context.Address}\");"));

        var probe = Assert.Single(Load("acme").Value.Drivers).Probe!;

        Assert.Equal(new VfioError(Errno.ENODEV, "not 0000:00:00.0"), probe(new DriverContext(default, default, Akka.Actor.ActorRefs.Nobody)).Error);
    }

    [Fact]
    public void What_it_depends_on_is_its_own_though_the_host_has_the_same()
    {
        var own = PluginFolder.Compile("CsCheck", "namespace Own { public static class Word { public static int Of() => 7; } }");
        folder.Add("acme", PluginFolder.Driver(more: "public static int Seven() => Own.Word.Of();"), references: own).AddBytes("acme", "CsCheck.dll", own);
        DependsOn("acme", "CsCheck");

        var plugin = Load("acme").Value;

        Assert.Equal(7, ClassOf(plugin).GetMethod("Seven")!.Invoke(null, null));
    }

    [Fact]
    public void The_kit_is_the_hosts_though_a_copy_lies_beside_it()
    {
        folder.Add("acme", PluginFolder.Driver()).AddBytes("acme", "Fabric.Devices.dll", File.ReadAllBytes(typeof(VariantDriver).Assembly.Location));
        DependsOn("acme", "Fabric.Devices");

        Assert.Same(typeof(VariantDriver), ClassOf(Load("acme").Value).BaseType);
    }

    [Fact]
    public void Of_several_assemblies_the_one_that_is_described_is_the_plugin()
    {
        folder.Add("acme", PluginFolder.Driver(), assembly: "Drivers").AddBytes("acme", "Aardvark.dll", PluginFolder.Compile("Aardvark", "class C;"));
        DependsOn("acme", main: "Drivers");

        Assert.True(Load("acme").IsOk);
    }

    // ---- Refused ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_file_that_is_no_assembly() => Refused(Errno.EINVAL, "not a .NET assembly", folder.AddBytes("acme", "acme.dll", [.. "MZ and then nothing"u8]));

    [Fact]
    public void An_empty_file() => Refused(Errno.EINVAL, "not a .NET assembly", folder.AddBytes("acme", "acme.dll", []));

    [Fact]
    public void A_native_library_of_Linux() => Refused(Errno.EINVAL, "a native library", folder.AddBytes("acme", "acme.dll", [.. "\u007fELF\u0002\u0001\u0001"u8, .. new byte[100]]));

    [Fact]
    public void A_native_library_of_Windows()
    {
        var bytes = PluginFolder.Compile("acme", PluginFolder.Driver());
        // The directory of the CLI header, entry 14 of the optional header, is taken away.
        var header = BitConverter.ToInt32(bytes, 0x3c) + 24;
        var directories = header + (BitConverter.ToUInt16(bytes, header) == 0x20b ? 112 : 96);
        bytes.AsSpan(directories + (14 * 8), 8).Clear();

        Refused(Errno.EINVAL, "a native library", folder.AddBytes("acme", "acme.dll", bytes));
    }

    [Fact]
    public void An_assembly_that_is_cut_off_or_damaged_anywhere_is_refused_and_throws_nothing()
    {
        var whole = PluginFolder.Compile("acme", PluginFolder.Driver());
        CsCheck.Check.Sample(
            CsCheck.Gen.Select(CsCheck.Gen.Int[0, whole.Length - 1], CsCheck.Gen.Int[0, whole.Length - 1], CsCheck.Gen.Byte),
            (cut, at, value) =>
            {
                Assert.False(PluginImage.Read(whole[..(cut / 2)]).IsOk && cut < 512);
                var damaged = (byte[])whole.Clone();
                damaged[at] = value;
                // Either is right; an exception is not.
                _ = PluginImage.Read(damaged);
            });
    }

    [Fact]
    public void One_without_a_driver() => Refused(Errno.EINVAL, "There is no driver in it", folder.Add("acme", "[assembly: Fabric.Devices.Drivers.DriverKit] class C;"));

    [Fact]
    public void One_that_does_not_use_the_kit_at_all() => Refused(Errno.EINVAL, "There is no driver in it", folder.Add("acme", "class C;"));

    [Fact]
    public void One_that_does_not_say_which_kit_it_was_compiled_against() =>
        Refused(Errno.EINVAL, "put [assembly: DriverKit] into it", folder.Add("acme", PluginFolder.Driver().Replace("[assembly: DriverKit]", "", StringComparison.Ordinal)));

    [Fact]
    public void One_that_was_compiled_against_another_kit_without_running_any_of_it()
    {
        var other = PluginFolder.OtherKit(DriverKit.Version + 1);
        folder.AddBytes("foreign", "foreign.dll", CompileAgainst(other));

        Assert.Equal(
            new VfioError(Errno.EINVAL, $"It was compiled against version {DriverKit.Version + 1} of the driver kit, and this host has {DriverKit.Version}; compile it anew."),
            Load("foreign").Error);
        Assert.DoesNotContain(AssemblyLoadContext.All, static context => context.Name == "driver foreign");
    }

    [Fact]
    public void One_whose_assembly_is_named_like_one_of_the_fabrics() =>
        Refused(Errno.EINVAL, "named Fabric.Drivers, as the fabric's own are", folder.Add("acme", PluginFolder.Driver(), assembly: "Fabric.Drivers", file: "acme"));

    [Theory]
    [InlineData("Fabric.Devices")]
    [InlineData("fabric.anything")]
    [InlineData("fabricd")]
    [InlineData("Akka")]
    public void Names_that_no_plugin_may_have(string name) => Assert.True(PluginLoadContext.IsReserved(name));

    [Fact]
    public void One_that_needs_what_is_not_there()
    {
        var library = PluginFolder.Compile("Acme.Tools", "namespace Acme { public static class Tool { public static int Of() => 7; } }");

        Refused(Errno.ENOENT, "It needs Acme.Tools 0.0.0.0, which is not in its folder", folder.Add(
            "acme", PluginFolder.Driver(more: "public static int Seven() => Acme.Tool.Of();"), references: library));
    }

    /// <summary>The host has it; the plugin has not.</summary>
    [Fact]
    public void One_that_would_use_a_library_of_the_hosts() =>
        Refused(Errno.ENOENT, "It needs CsCheck", folder.Add(
            "acme", PluginFolder.Driver(more: "public static object Gen() => CsCheck.Gen.Int;"), references: File.ReadAllBytes(typeof(CsCheck.Gen).Assembly.Location)));

    [Fact]
    public void One_that_reaches_past_the_kit() => Refused(Errno.EPERM, "It uses Fabric.Vfio.IPciFunction, which is not the driver kit's", folder.Add(
        "acme", PluginFolder.Driver(more: "public static object Reach(IPciFunction function) => function.Address;")));

    [Fact]
    public void One_whose_static_constructor_throws() => Refused(Errno.EIO, "Loading it failed: InvalidOperationException: bad luck.", folder.Add(
        "acme", PluginFolder.Driver(more: "static AcmeDriver() => throw new InvalidOperationException(\"bad luck\");")));

    [Fact]
    public void One_whose_module_initializer_throws() => Refused(Errno.EIO, "bad luck", folder.Add(
        "acme", PluginFolder.Driver() + " static class Begin { [System.Runtime.CompilerServices.ModuleInitializer] public static void Now() => throw new System.InvalidOperationException(\"bad luck\"); }"));

    [Theory]
    [InlineData("public sealed class AcmeDriver : VariantDriver", "public abstract class AcmeDriver : VariantDriver", "must be a class derived from VariantDriver")]
    [InlineData("public AcmeDriver(DriverContext context)", "internal AcmeDriver(DriverContext context)", "has no public constructor")]
    [InlineData("public AcmeDriver(DriverContext context)", "public AcmeDriver(DriverContext context, int more)", "has no public constructor")]
    [InlineData("\"acme\"", "\"Acme\"", "is named 'Acme'; write lowercase letters")]
    [InlineData("\"acme\"", "\"\"", "is named ''")]
    [InlineData("\"acme\"", "null", "is named ''")]
    [InlineData("\"acme\"", "\"vfio-pci\"", "which is the core alone")]
    [InlineData("1b36:fab0", "1b36", "matches '1b36', which is no id")]
    [InlineData("Match = \"1b36:fab0\"", "Match = \"1b36:fab0 \\u0007\"", "matches '?', which is no id")]
    public void A_class_that_says_what_cannot_be(string right, string wrong, string reason)
    {
        var source = PluginFolder.Driver();
        Assert.Contains(right, source, StringComparison.Ordinal);

        Refused(Errno.EINVAL, reason, folder.Add("acme", source.Replace(right, wrong, StringComparison.Ordinal)));
    }

    [Fact]
    public void A_class_with_the_attribute_that_is_no_driver() => Refused(Errno.EINVAL, "must be a class derived from VariantDriver", folder.Add(
        "acme", "using Fabric.Devices.Drivers; [assembly: DriverKit] [PciDriver(\"acme\")] public sealed class C { public C(DriverContext context) { } }"));

    [Fact]
    public void One_with_a_description_that_cannot_be_understood() =>
        Refused(Errno.EINVAL, ".deps.json cannot be understood", folder.Add("acme", PluginFolder.Driver()).AddBytes("acme", "acme.deps.json", [.. "{"u8]));

    /// <summary>What is refused does not stay in memory.</summary>
    [Fact]
    public void What_is_refused_leaves_no_context_behind()
    {
        folder.Add("leaver", PluginFolder.Driver(more: "static AcmeDriver() => throw new InvalidOperationException(\"bad luck\");"));

        using var contexts = new Contexts("leaver");
        LoadAndForget();

        contexts.AssertCollected();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void LoadAndForget() => Assert.False(Load("leaver").IsOk);

    // ---- Files -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_folder_without_an_assembly() => Refused(Errno.ENOENT, "There is no .dll", folder.AddBytes("acme", "readme.txt", []));

    [Fact]
    public void Several_assemblies_of_which_none_is_described() => Refused(
        Errno.EINVAL, "Which of its 2 .dll is the plugin cannot be told", folder.AddBytes("acme", "a.dll", []).AddBytes("acme", "b.dll", []));

    [Fact]
    public void A_file_that_everybody_may_write_to()
    {
        folder.Add("acme", PluginFolder.Driver()).AddBytes("acme", "notes.txt", []);
        Open(folder.PathOf("acme", "notes.txt"));

        Refused(Errno.EPERM, "Everybody may write to its notes.txt", folder);
    }

    [Fact]
    public void A_folder_that_everybody_may_write_to()
    {
        Open(folder.Add("acme", PluginFolder.Driver()).PathOf("acme"));

        Refused(Errno.EPERM, "Everybody may write to its folder", folder);
    }

    [Fact]
    public void A_folder_in_it_that_everybody_may_write_to()
    {
        Open(Directory.CreateDirectory(folder.Add("acme", PluginFolder.Driver()).PathOf("acme", "native")).FullName);

        Refused(Errno.EPERM, "Everybody may write to its native", folder);
    }

    [Theory]
    [InlineData("/etc/hostname")]
    [InlineData("/nowhere/at/all")]
    [InlineData("../other/other.dll")]
    public void A_link_out_of_its_folder(string target)
    {
        folder.Add("acme", PluginFolder.Driver()).Add("other", PluginFolder.Driver("other"));
        File.CreateSymbolicLink(folder.PathOf("acme", "more.dll"), target);

        Refused(Errno.EPERM, "Its more.dll is a link to what is not in its folder", folder);
    }

    [Fact]
    public void A_link_within_its_folder_is_taken()
    {
        folder.Add("acme", PluginFolder.Driver());
        File.CreateSymbolicLink(folder.PathOf("acme", "current.txt"), "acme.dll");

        Assert.True(Load("acme").IsOk);
    }

    [Fact]
    public void A_folder_that_is_a_link()
    {
        folder.Add("other", PluginFolder.Driver());
        Directory.CreateSymbolicLink(folder.PathOf("acme"), folder.PathOf("other"));

        Refused(Errno.EPERM, "It is a link", folder);
    }

    [Fact]
    public void A_file_that_is_too_big() =>
        Refused(Errno.E2BIG, "Its data.bin is too big: a file may have 1 MiB", folder.Add("acme", PluginFolder.Driver()).AddBytes("acme", "data.bin", new byte[(1 << 20) + 1]));

    [Fact]
    public void Files_that_are_too_big_together()
    {
        folder.Add("acme", PluginFolder.Driver());
        for (var file = 0; file < 2; file++)
            folder.AddBytes("acme", $"{file}.bin", new byte[1 << 20]);

        Refused(Errno.E2BIG, "too big", folder);
    }

    [Fact]
    public void Too_many_files()
    {
        folder.Add("acme", PluginFolder.Driver());
        for (var file = 0; file < 20; file++)
            folder.AddBytes("acme", $"{file}.txt", []);

        Refused(Errno.E2BIG, "more than 20 files", folder);
    }

    [Fact]
    public void A_file_that_cannot_be_read()
    {
        Assert.SkipWhen(Environment.IsPrivilegedProcess, "Whoever is root reads everything.");
        File.SetUnixFileMode(folder.Add("acme", PluginFolder.Driver()).PathOf("acme", "acme.dll"), UnixFileMode.None);

        Refused(Errno.EACCES, "It cannot be read", folder);
    }

    [Fact]
    public void An_assembly_that_is_a_folder() =>
        Assert.Equal(Errno.ENOENT, PluginFiles.Check(Directory.CreateDirectory(folder.PathOf("acme", "acme.dll")).Parent!.FullName, Options).Error.Errno);

    [Fact]
    public void A_folder_that_has_gone_cannot_be_read() => Assert.Equal(Errno.EACCES, PluginFiles.Check(folder.PathOf("gone"), Options).Error.Errno);

    // ---- The folder of all -----------------------------------------------------------------------------------------------------------

    [Fact]
    public void Its_folders_are_plugins_and_its_assemblies_are_astray()
    {
        folder.AddBytes("b", "b.dll", []).AddBytes("a", "a.dll", []);
        File.WriteAllBytes(folder.PathOf("stray.dll"), []);

        var (plugins, astray) = PluginFiles.List(Options).Value;

        Assert.Equal(["a", "b"], plugins);
        Assert.Equal(["stray.dll"], astray);
    }

    [Fact]
    public void One_that_everybody_may_write_to_is_refused_as_a_whole()
    {
        Open(folder.Path);

        Assert.Equal(Errno.EPERM, PluginFiles.List(Options).Error.Errno);
    }

    [Fact]
    public void One_that_is_not_there_is_said() => Assert.Equal(Errno.ENOENT, PluginFiles.List(new PluginOptions(folder.PathOf("nowhere"))).Error.Errno);

    [Fact]
    public void A_link_to_it_is_followed_and_what_it_leads_to_is_looked_at()
    {
        var target = Directory.CreateDirectory(folder.PathOf("real")).FullName;
        Directory.CreateSymbolicLink(folder.PathOf("link"), target);
        Assert.True(PluginFiles.List(new PluginOptions(folder.PathOf("link"))).IsOk);

        Open(target);

        Assert.Equal(Errno.EPERM, PluginFiles.List(new PluginOptions(folder.PathOf("link"))).Error.Errno);
    }

    public void Dispose() => folder.Dispose();

    // ---- Small things ----------------------------------------------------------------------------------------------------------------

    private VfioResult<Plugin> Load(string plugin) => PluginLoader.Load(folder.PathOf(plugin), Options);

    private void Refused(Errno errno, string reason, PluginFolder _)
    {
        var refused = Load("acme").Error;

        Assert.Contains(reason, refused.Sentence, StringComparison.Ordinal);
        Assert.Equal(errno, refused.Errno);
    }

    private static Type ClassOf(Plugin plugin) => ((DriverClass)Assert.Single(plugin.Drivers).Create.Target!).Type!;

    private static byte[] CompileAgainst(byte[] kit) => Microsoft.CodeAnalysis.CSharp.CSharpCompilation.Create(
        "acme",
        [Microsoft.CodeAnalysis.CSharp.CSharpSyntaxTree.ParseText("[assembly: Fabric.Devices.Drivers.DriverKit] public class C;")],
        [
            Microsoft.CodeAnalysis.MetadataReference.CreateFromFile(typeof(object).Assembly.Location),
            Microsoft.CodeAnalysis.MetadataReference.CreateFromImage(kit),
        ],
        new Microsoft.CodeAnalysis.CSharp.CSharpCompilationOptions(Microsoft.CodeAnalysis.OutputKind.DynamicallyLinkedLibrary)).Bytes();

    /// <summary>Writes a .deps.json as the SDK would, with one library.</summary>
    private void DependsOn(string plugin, string? library = null, string? main = null)
    {
        var name = main ?? plugin;
        var of = library is null ? "" : $$""", "{{library}}/1.0.0": { "runtime": { "{{library}}.dll": {} } }""";
        var there = library is null ? "" : $$""", "{{library}}/1.0.0": { "type": "reference", "serviceable": false, "sha512": "" }""";
        File.WriteAllText(folder.PathOf(plugin, $"{name}.deps.json"), $$"""
            {
              "runtimeTarget": { "name": ".NETCoreApp,Version=v10.0", "signature": "" },
              "compilationOptions": {},
              "targets": { ".NETCoreApp,Version=v10.0": { "{{name}}/1.0.0": { "runtime": { "{{name}}.dll": {} } }{{of}} } },
              "libraries": { "{{name}}/1.0.0": { "type": "project", "serviceable": false, "sha512": "" }{{there}} }
            }
            """);
    }

    private static void Open(string path) => File.SetUnixFileMode(path, File.GetUnixFileMode(path) | UnixFileMode.OtherWrite);
}

/// <summary>Load contexts as they come, and whether they have left memory.</summary>
internal sealed class Contexts : IDisposable
{
    private readonly string assembly;
    private readonly ConcurrentBag<WeakReference> seen = [];

    /// <param name="assembly">The name of the assembly that they are loaded for; no other test has one of this name.</param>
    public Contexts(string assembly)
    {
        this.assembly = assembly;
        AppDomain.CurrentDomain.AssemblyLoad += OnLoad;
    }

    /// <summary>Collects until none is left; a few rounds, as finalizers have to run between.</summary>
    public void AssertCollected()
    {
        Assert.NotEmpty(seen);
        for (var round = 0; round < 20 && seen.Any(static context => context.IsAlive); round++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.DoesNotContain(seen, static context => context.IsAlive);
    }

    public void Dispose() => AppDomain.CurrentDomain.AssemblyLoad -= OnLoad;

    private void OnLoad(object? sender, AssemblyLoadEventArgs loaded)
    {
        if (loaded.LoadedAssembly.GetName().Name == assembly)
            seen.Add(new WeakReference(AssemblyLoadContext.GetLoadContext(loaded.LoadedAssembly)));
    }
}

internal static class Emitting
{
    public static byte[] Bytes(this Microsoft.CodeAnalysis.CSharp.CSharpCompilation compilation)
    {
        using var bytes = new MemoryStream();
        var emitted = compilation.Emit(bytes);
        Assert.True(emitted.Success, string.Join('\n', emitted.Diagnostics));
        return bytes.ToArray();
    }
}
