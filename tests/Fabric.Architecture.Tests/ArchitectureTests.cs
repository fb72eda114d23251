using System.Diagnostics;
using System.Xml.Linq;

namespace Fabric.Architecture.Tests;

public class ArchitectureTests
{
    [Fact]
    public void Arrows_point_down_only() => Assert.Empty(Repository.Rooms.SelectMany(Rules.References));

    [Fact]
    public void Every_room_of_the_rules_is_there() =>
        Assert.Equal(Rules.MayReference.Keys.Order(), Repository.Rooms.Select(room => room.Name).Order());

    [Fact]
    public void The_standard_and_the_core_reference_the_framework_alone() => Assert.Empty(Repository.Rooms.SelectMany(Rules.Packages));

    [Fact]
    public void The_command_line_has_the_daemon_built_and_links_none_of_it()
    {
        var cli = Repository.Rooms.Single(room => room.Name == "Fabric.Cli");
        Assert.Equal(["Fabric.Node"], cli.BuiltOnly);
    }

    [Fact]
    public void Drivers_reach_a_core_by_messages_alone() =>
        Assert.Empty(Repository.SourcesOf("Fabric.Drivers").SelectMany(Rules.ReachesIntoCore));

    [Fact]
    public void No_room_blocks_sleeps_or_has_a_vague_name() =>
        Assert.Empty(Repository.Rooms.SelectMany(room => Repository.SourcesOf(room.Name)).SelectMany(Rules.ForbiddenCode));

    [Fact]
    public void Every_room_says_what_it_is_for() =>
        Assert.All(Repository.Rooms, room => Assert.True(File.Exists(Path.Combine(Repository.Root, "src", room.Name, "README.md")), $"{room.Name} has no README.md"));

    [Fact]
    public async Task The_top_level_holds_what_it_should()
    {
        var start = new ProcessStartInfo("git", ["ls-files", "-z"]) { RedirectStandardOutput = true, WorkingDirectory = Repository.Root };
        using var git = Process.Start(start)!;
        var files = await git.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await git.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.SkipUnless(git.ExitCode == 0, "Not a git checkout: what belongs to the repository cannot be told.");
        Assert.Empty(Rules.TopLevel(files.Split('\0', StringSplitOptions.RemoveEmptyEntries).Select(file => file.Split('/')[0]).Distinct()));
    }
}

/// <summary>Each rule, shown to see what it forbids.</summary>
public class RuleTests
{
    [Fact]
    public void An_arrow_that_points_up_is_seen() =>
        Assert.Equal(["Fabric.Vfio references Fabric.Devices, which is not below it."], Rules.References(Project("Fabric.Vfio", "../Fabric.Devices/Fabric.Devices.csproj")));

    [Fact]
    public void An_arrow_between_neighbours_is_seen() =>
        Assert.Single(Rules.References(Project("Fabric.Drivers", "../Fabric.Hardware.Emulated/Fabric.Hardware.Emulated.csproj")));

    [Fact]
    public void A_room_without_a_place_is_seen() => Assert.Single(Rules.References(Project("Fabric.Elsewhere")));

    [Fact]
    public void A_package_of_the_core_is_seen()
    {
        var document = XDocument.Parse("""<Project><ItemGroup><PackageReference Include="Akka" /></ItemGroup></Project>""");
        Assert.Single(Rules.Packages(ProjectFile.Parse("Fabric.Vfio", document)));
    }

    [Fact]
    public void A_project_that_is_built_and_not_linked_is_told_apart()
    {
        var document = XDocument.Parse("""<Project><ItemGroup><ProjectReference Include="../A/A.csproj" ReferenceOutputAssembly="false" /></ItemGroup></Project>""");
        Assert.Equal(["A"], ProjectFile.Parse("Fabric.Cli", document).BuiltOnly);
    }

    [Theory]
    [InlineData("Thread.Sleep(1);")]
    [InlineData("async void Go()")]
    [InlineData("task.GetAwaiter().GetResult();")]
    [InlineData("task.Wait();")]
    [InlineData("class DeviceManager")]
    [InlineData("throw new NotImplementedException();")]
    public void Code_that_is_forbidden_is_seen(string code) => Assert.Single(Rules.ForbiddenCode(new SourceFile("x.cs", code)));

    [Fact]
    public void A_comment_may_speak_of_it() => Assert.Empty(Rules.ForbiddenCode(new SourceFile("x.cs", "// no Thread.Sleep here")));

    [Fact]
    public void A_driver_that_reaches_into_the_core_is_seen() =>
        Assert.Single(Rules.ReachesIntoCore(new SourceFile("x.cs", "private VfioPciCore core;")));

    [Fact]
    public void What_does_not_belong_at_the_top_is_seen() => Assert.Equal(["PLAN.md does not belong at the top level."], Rules.TopLevel(["src", ".ci", "PLAN.md", "README.md"]));

    private static ProjectFile Project(string name, params string[] references) => ProjectFile.Parse(
        name,
        new XDocument(new XElement("Project", new XElement("ItemGroup", references.Select(reference => new XElement("ProjectReference", new XAttribute("Include", reference)))))));
}
