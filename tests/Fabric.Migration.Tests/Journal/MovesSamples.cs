using Fabric.Migration.Journal;
using Google.Protobuf;

namespace Fabric.Migration.Tests.Journal;

/// <summary>What the golden files of moves hold; see <see cref="JournalSamples"/>.</summary>
internal static class MovesSamples
{
    private const long At = 1_795_341_600_200;

    public static IReadOnlyList<(string Manifest, string File, IMessage Message)> All { get; } =
    [
        Of("drain.started.v1", new DrainStarted { Host = "alpha", RequestedBy = "ops", DowntimeLimitMs = 300, At = At }),
        Of("drain.host-emptied.v1", new HostEmptied { Host = "alpha", At = At + 1 }),
        Of("drain.ended.v1", new DrainEnded { Host = "alpha", RequestedBy = "ops", At = At + 2 }),
        Of("move.started.v1", new MoveStarted
        {
            Number = 7,
            ClaimId = "vm-7",
            FromHost = "alpha",
            ToHost = "beta",
            Cause = "rebalance, as ops asked: alpha has 4 claims of accelerator-vf, beta 0",
            DowntimeLimitMs = 300,
            OfRebalance = true,
            At = At + 3,
        }),
        Of("move.ended.v1", new MoveEnded { Number = 7, Outcome = "rolled-back", Reason = "beta was lost", Migration = 4, At = At + 4 }),
        Of("rebalance.started.v1", new RebalanceStarted { RequestedBy = "ops", Moves = { Intended }, DowntimeLimitMs = 300, At = At + 5 }),
        Of("rebalance.ended.v1", new RebalanceEnded { Outcome = "3 of 4 claims moved", At = At + 6 }),
        Of("breaker.tripped.v1", new BreakerTripped { Reason = "7 of 12 devices of model accelerator-vf began to misbehave", At = At + 7 }),
        Of("breaker.reset.v1", new BreakerReset { RequestedBy = "ops", Acknowledged = { "alpha/fab0:01:00.1" }, At = At + 8 }),
        Of("moves.snapshot.v1", new MovesSnapshot
        {
            LastMove = 7,
            Drains = { new DrainRecord { Host = "alpha", RequestedBy = "ops", DowntimeLimitMs = 300, StartedAt = At, EmptiedAt = At + 1 } },
            Moves =
            {
                new MoveRecord
                {
                    Number = 7,
                    ClaimId = "vm-7",
                    FromHost = "alpha",
                    ToHost = "beta",
                    Cause = "alpha is drained, as ops asked",
                    DowntimeLimitMs = 300,
                    OfRebalance = true,
                    StartedAt = At + 3,
                    Outcome = "rolled-back",
                    Reason = "beta was lost",
                    Migration = 4,
                    EndedAt = At + 4,
                },
            },
            Rebalance = new RebalanceRecord
            {
                RequestedBy = "ops", Moves = { Intended }, DowntimeLimitMs = 300, StartedAt = At + 5, Outcome = "3 of 4 claims moved", EndedAt = At + 6,
            },
            Breaker = new BreakerRecord { TrippedFor = "too much broke", TrippedAt = At + 7, ResetBy = "ops", ResetAt = At + 8, Acknowledged = { "alpha/fab0:01:00.1" } },
        }),
    ];

    private static IntendedMove Intended => new() { ClaimId = "vm-7", FromHost = "alpha", ToHost = "beta", Why = "alpha has 4 claims of accelerator-vf, beta 0" };

    private static (string Manifest, string File, IMessage Message) Of(string manifest, IMessage message) => (manifest, $"{manifest}.golden", message);
}
