using Fabric.Pci;

namespace Fabric.Hardware.Linux.Tests;

public sealed class BindingRequestsTests : IDisposable
{
    private static readonly PciAddress Function = PciAddress.Parse("0000:3b:00.0");

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("fabric-requests-");

    private string File => Path.Combine(folder.FullName, "bindings", "requests.json");

    public void Dispose() => folder.Delete(recursive: true);

    [Fact]
    public void What_was_asked_for_is_there_for_the_next_daemon()
    {
        new BindingRequests(File).Add(Function, force: true, "ops@desk");

        var next = new BindingRequests(File);

        Assert.Equal([new BindingRequest("0000:3b:00.0", true, "ops@desk")], next.All);
        Assert.True(next.Has(Function));
    }

    [Fact]
    public void What_is_taken_back_is_not()
    {
        var first = new BindingRequests(File);
        first.Add(Function, force: false, "ops@desk");

        first.Remove(Function);

        Assert.Empty(new BindingRequests(File).All);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("""[{"Function":"third","Force":false,"By":"ops"}]""")]
    [InlineData("""[{"Function":null,"Force":false,"By":"ops"}]""")]
    public void A_file_that_is_damaged_is_said_so_with_its_remedy(string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(File)!);
        System.IO.File.WriteAllText(File, text);

        var e = Assert.Throws<IOException>(() => new BindingRequests(File));

        Assert.StartsWith($"{File} is not a list of functions that this host took", e.Message, StringComparison.Ordinal);
        Assert.EndsWith("Repair it, or move it away to begin without.", e.Message, StringComparison.Ordinal);
    }
}
