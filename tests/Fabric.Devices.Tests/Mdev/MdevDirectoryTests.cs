using Fabric.Devices.Mdev;
using Fabric.Vfio;

namespace Fabric.Devices.Tests.Mdev;

/// <summary>Definitions as files.</summary>
public sealed class MdevDirectoryTests : IDisposable
{
    private static readonly Guid One = new("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
    private static readonly MdevDefinition Definition = new(One, "mtty", "mtty-2", AutoStart: true);

    private readonly string above = Directory.CreateTempSubdirectory("fabric-mdev-").FullName;
    private readonly string folder;
    private readonly MdevDirectory store;

    public MdevDirectoryTests()
    {
        folder = Path.Combine(above, "mdev.d");
        store = new MdevDirectory(folder);
    }

    public void Dispose() => Directory.Delete(above, recursive: true);

    [Fact]
    public void What_was_saved_is_there_for_the_next_one()
    {
        var manual = new MdevDefinition(Guid.NewGuid(), "mdpy", "mdpy-hd", AutoStart: false);

        Assert.True(store.Save(Definition).IsOk);
        Assert.True(store.Save(manual).IsOk);

        var read = new MdevDirectory(folder).Load();
        Assert.Equal([manual, Definition], read.Definitions);
        Assert.Empty(read.Unusable);
    }

    [Fact]
    public void Files_lie_as_mdevctl_lays_them()
    {
        store.Save(Definition);

        Assert.Equal(
            """
            {
              "mdev_type": "mtty-2",
              "start": "auto",
              "attrs": []
            }
            """,
            File.ReadAllText(Path.Combine(folder, "mtty", One.ToString())));
        Assert.Single(Directory.GetFileSystemEntries(Path.Combine(folder, "mtty")));
    }

    [Theory]
    [InlineData("""{"mdev_type":"mtty-2","start":"auto","attrs":[]}""")]
    [InlineData("""{ "start": "auto", "mdev_type": "mtty-2" }""")]
    public void What_mdevctl_wrote_is_read(string content)
    {
        Put($"mtty/{One}", content);

        Assert.Equal(Definition, Assert.Single(store.Load().Definitions));
    }

    [Theory]
    [InlineData("", "it is no definition, at line 1: ")]
    [InlineData("{ \"mdev_type\": \"mtty-2\",\n \"sta", "it is no definition, at line 2: ")]
    [InlineData("null", "it is null, and no definition")]
    [InlineData("[]", "it is no definition, at line 1: ")]
    [InlineData("{}", "it is no definition, at line 1: ")]
    [InlineData("""{"mdev_type":"mtty-2"}""", "it is no definition, at line 1: ")]
    [InlineData("""{"mdev_type":null,"start":"auto"}""", "it is no definition, at line 1: ")]
    [InlineData("""{"mdev_type":"mtty-2","mdev_type":"mtty-1","start":"auto"}""", "it is no definition, at line 1: ")]
    [InlineData("""{"mdev_type":"mtty-2","start":"auto","colour":"red"}""", "it is no definition, at line 1: ")]
    [InlineData("""{"mdev_type":"mtty-2","start":"always"}""", "its start is 'always'; there are auto and manual")]
    [InlineData("""{"mdev_type":"mtty-2","start":"auto","attrs":[{"assign_adapter":"5"}]}""", "it has attrs, which no parent of this host takes")]
    public void What_is_no_definition_is_named_and_stops_no_other(string content, string why)
    {
        Put($"mtty/{One}", content);
        var other = Definition with { Uuid = Guid.NewGuid() };
        store.Save(other);

        var read = store.Load();

        var unusable = Assert.Single(read.Unusable);
        Assert.Equal((Path.Combine(folder, "mtty", One.ToString()), One), (unusable.File, unusable.Uuid));
        Assert.StartsWith(why, unusable.Why, StringComparison.Ordinal);
        Assert.DoesNotContain("BytePosition", unusable.Why, StringComparison.Ordinal);
        Assert.Equal(other, Assert.Single(read.Definitions));
        Assert.Equal(content, File.ReadAllText(unusable.File));
    }

    [Fact]
    public void What_lies_there_and_is_nothing_of_ours_is_named()
    {
        Put("notes.txt", "do not touch");
        Put("mtty/README", "this is mtty");
        Put($"mtty/{One.ToString().ToUpperInvariant()}", """{"mdev_type":"mtty-2","start":"auto"}""");
        Directory.CreateDirectory(Path.Combine(folder, "mtty", Guid.NewGuid().ToString()));
        Put($"mtty/{Guid.NewGuid()}", new string(' ', 65 << 10));

        var read = store.Load();

        Assert.Empty(read.Definitions);
        Assert.Equal(
            [
                "it is in no folder of a parent", "it is no file of at most 64 KiB", "it is no file of at most 64 KiB",
                "its name is no UUID in lowercase", "its name is no UUID in lowercase",
            ],
            read.Unusable.Select(file => file.Why).Order());
    }

    [Fact]
    public void A_folder_that_is_not_there_holds_nothing() => Assert.Equal((0, 0), (store.Load().Definitions.Length, store.Load().Unusable.Length));

    [Fact]
    public void A_folder_that_is_a_file_is_named_and_takes_nothing()
    {
        File.WriteAllText(folder, "");

        Assert.Equal(folder, Assert.Single(store.Load().Unusable).File);
        Assert.Equal(Errno.EIO, store.Save(Definition).Error.Errno);
    }

    [Fact]
    public void What_was_begun_and_never_acknowledged_is_nothing_and_in_nobodys_way()
    {
        Put($"mtty/{One}.new", "{ \"mdev_ty");

        Assert.Equal((0, 0), (store.Load().Definitions.Length, store.Load().Unusable.Length));
        Assert.True(store.Save(Definition).IsOk);
        Assert.Equal(Definition, Assert.Single(store.Load().Definitions));
    }

    [Fact]
    public void What_lies_there_already_is_not_written_over()
    {
        Put($"mtty/{One}", "somebody's own");

        Assert.Equal(Errno.EEXIST, store.Save(Definition).Error.Errno);

        Assert.Equal("somebody's own", File.ReadAllText(Path.Combine(folder, "mtty", One.ToString())));
    }

    [Fact]
    public void Deleted_it_is_gone_and_so_it_is_when_it_never_was()
    {
        store.Save(Definition);

        Assert.True(store.Delete(Definition).IsOk);
        Assert.True(store.Delete(Definition).IsOk);

        Assert.Empty(new MdevDirectory(folder).Load().Definitions);
    }

    private void Put(string path, string content)
    {
        var file = Path.Combine(folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, content);
    }
}
