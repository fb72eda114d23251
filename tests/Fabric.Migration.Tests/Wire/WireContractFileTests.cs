using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

/// <summary>The checked-in copy: a changed message is then a changed line in a diff, and a decision.</summary>
public sealed class WireContractFileTests
{
    private const string AcceptVariable = "FABRIC_ACCEPT_WIRE";

    [Fact]
    public void The_contract_is_the_one_checked_in()
    {
        var path = Path.Combine(RepositoryRoot(), "src", "Fabric.Migration", "Wire", "wire-contract.txt");
        var actual = WireContract.From(typeof(IWireMessage).Assembly).Text;
        if (Environment.GetEnvironmentVariable(AcceptVariable) == "1")
            File.WriteAllText(path, actual);

        var accepted = File.Exists(path) ? File.ReadAllText(path) : "";

        Assert.True(actual == accepted, $"""
            The messages that cross between nodes are no longer those of src/Fabric.Migration/Wire/wire-contract.txt.
            Nodes of this build will not join a cluster of the build before. If that is meant, accept it:
              {AcceptVariable}=1 dotnet test tests/Fabric.Migration.Tests
            and commit the file. First difference:
            {FirstDifference(accepted, actual)}
            """);
    }

    private static string FirstDifference(string accepted, string actual)
    {
        var (left, right) = (accepted.Split('\n'), actual.Split('\n'));
        var at = left.Zip(right).TakeWhile(pair => pair.First == pair.Second).Count();
        return $"  line {at + 1}\n  - {left.ElementAtOrDefault(at)}\n  + {right.ElementAtOrDefault(at)}";
    }

    private static string RepositoryRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Fabric.sln")))
                return folder.FullName;
        }

        throw new InvalidOperationException($"No Fabric.sln above {AppContext.BaseDirectory}; run the tests from a checkout.");
    }
}
