using System.Diagnostics;
using System.Reflection;

namespace Fabric.Benchmarks.VfioUser;

/// <summary>A daemon of ours that serves one model, as a user starts it.</summary>
internal sealed class ServedProcess : IDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("vu");
    private readonly Process process;

    public ServedProcess(string model)
    {
        Path = System.IO.Path.Combine(folder.FullName, "s");
        var known = typeof(ServedProcess).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>();
        var fabricd = known.Single(static data => data.Key == "Fabricd").Value!;
        var start = new ProcessStartInfo(fabricd, ["serve", "--emulated", model, "--socket", Path, "--exit-on-stdin-close"])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true,
        };
        process = Process.Start(start)!;
        if (process.StandardOutput.ReadLine() != Path)
            throw new InvalidOperationException("The daemon does not serve; what it said is above.");
    }

    public string Path { get; }

    public void Dispose()
    {
        process.StandardInput.Close();
        process.WaitForExit();
        process.Dispose();
        folder.Delete(recursive: true);
    }
}
