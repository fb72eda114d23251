using Fabric.Vfio.Core;

namespace Fabric.Vfio.Tests.Core;

/// <summary>A core with its device open, or closed, for tests that begin there.</summary>
internal static class OpenDevice
{
    public static VfioPciCore Closed(IPciFunction function) => VfioPciCore.Register(function).Value;

    public static VfioPciCore On(IPciFunction function)
    {
        var core = Closed(function);
        Assert.True(core.Open().IsOk);
        return core;
    }

    public static VfioPciCore New() => On(new FakeFunction());
}
