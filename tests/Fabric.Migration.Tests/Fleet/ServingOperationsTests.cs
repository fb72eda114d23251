using Akka.Actor;
using Akka.TestKit.Xunit;
using Fabric.Migration.Fleet;
using Microsoft.Extensions.Time.Testing;

namespace Fabric.Migration.Tests.Fleet;

/// <summary>What operators ask of the sockets on which devices are served, as messages to who has them.</summary>
public sealed class ServingOperationsTests() : TestKit("akka.loglevel = OFF")
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    private readonly FakeTimeProvider time = new();

    public static TheoryData<IServingOperation> Operations =>
        [new ReadServed(), new ServeFunction("0000:3b:00.2", "/run/s", "ops"), new EndServing("0000:3b:00.2", "ops")];

    [Theory, MemberData(nameof(Operations))]
    public async Task Each_goes_to_who_has_the_sockets_and_its_answer_comes_back(IServingOperation operation)
    {
        var (devices, serving) = (CreateTestProbe(), CreateTestProbe());
        var running = new DeviceOperations("alpha", devices, serving, time).RunAsync(operation);
        Assert.Same(operation, await serving.ExpectMsgAsync<object>(Patience, cancellationToken: TestContext.Current.CancellationToken));
        var answer = new ServedRead([new ServedEntry("0000:3b:00.2", "/run/s", true, 1, null)]);
        serving.Reply(answer);
        Assert.Same(answer, await running.WaitAsync(Patience, TestContext.Current.CancellationToken));
        await devices.ExpectNoMsgAsync(TimeSpan.Zero, TestContext.Current.CancellationToken);
    }

    [Fact]
    public void Every_operation_there_is_is_tested_above() => Assert.Empty(typeof(IServingOperation).Assembly.GetTypes()
        .Where(type => type is { IsInterface: false } && type.IsAssignableTo(typeof(IServingOperation)))
        .Except(Operations.Select(row => row.Data.GetType())));

    [Fact]
    public async Task Who_does_not_answer_in_time_is_ETIMEDOUT()
    {
        var serving = CreateTestProbe();
        var running = new DeviceOperations("alpha", ActorRefs.Nobody, serving, time).RunAsync(new EndServing("0000:3b:00.2", "ops"));
        await serving.ExpectMsgAsync<EndServing>(Patience, cancellationToken: TestContext.Current.CancellationToken);
        time.Advance(TimeSpan.FromSeconds(100));
        var refused = Assert.IsType<OperationRefused>(await running.WaitAsync(Patience, TestContext.Current.CancellationToken));
        Assert.Equal(("ETIMEDOUT", "0000:3b:00.2"), (refused.Errno, refused.Device));
    }
}
