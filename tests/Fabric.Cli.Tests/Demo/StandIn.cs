namespace Fabric.Cli.Tests.Demo;

/// <summary>A shell script in fabricd's place, in a folder of its own.</summary>
internal sealed class StandIn : IDisposable
{
    /// <summary>Reads the data directory from its configuration file, as fabricd does.</summary>
    private const string Prologue =
        """
        #!/bin/sh
        data=$(sed -n 's/.*"dataDirectory": "\(.*\)".*/\1/p' "$2")
        name=$(sed -n 's/.*"name": "\(.*\)",.*/\1/p' "$2")
        listen() {
            echo "{\"name\":\"$name\",\"pid\":$$,\"cluster\":\"127.0.0.1:4$1\",\"api\":\"$2\"}" > "$data/endpoints.tmp"
            mv "$data/endpoints.tmp" "$data/endpoints.json"
        }

        """;

    public StandIn(string script)
    {
        Folder = Directory.CreateTempSubdirectory("fabric-test-").FullName;
        Path = System.IO.Path.Combine(Folder, "fabricd");
        File.WriteAllText(Path, Prologue + script);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(Path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    public string Folder { get; }

    public string Path { get; }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
