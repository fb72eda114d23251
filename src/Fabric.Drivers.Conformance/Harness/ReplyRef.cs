using System.Collections.Concurrent;
using Akka.Actor;

namespace Fabric.Drivers.Conformance.Harness;

/// <summary>Who asked one request: every answer to it, in order of arrival among all of its world.</summary>
internal sealed class ReplyRef(ExtendedActorSystem system, long number, Func<long> next) : MinimalActorRef
{
    private readonly TaskCompletionSource<object> first = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public ConcurrentQueue<(long Order, object Message)> Answers { get; } = new();

    public Task<object> First => first.Task;

    /// <summary>When the first answer came, among all answers.</summary>
    public long Order => Answers.TryPeek(out var answer) ? answer.Order : long.MaxValue;

    public override ActorPath Path { get; } = new RootActorPath(Address.AllSystems) / "conformance" / $"asker-{number}";

    public override IActorRefProvider Provider => system.Provider;

    /// <summary>On the answerer's thread: what it does next comes after this.</summary>
    protected override void TellInternal(object message, IActorRef sender)
    {
        Answers.Enqueue((next(), message));
        first.TrySetResult(message);
    }
}
