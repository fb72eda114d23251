using Fabric.Node.Hosting;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Node.Tests.Hosting;

public sealed class RehearsalTests
{
    [Fact]
    public async Task A_rehearsal_goes_back_once_there_once_and_comes_to_its_end() =>
        Assert.Null(await Rehearsal.RunAsync(NullLoggerFactory.Instance, TimeProvider.System));
}
