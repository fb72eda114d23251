using CsCheck;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Vfio.Tests.Migration;

public sealed class MigrationArcsTests
{
    private const MigrationFlags Everything = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private static readonly MigrationState[] SavingGroup = [PreCopy, PreCopyP2P, StopCopy];

    private static readonly Gen<MigrationState> AnyState = Gen.Enum<MigrationState>();

    private static readonly Gen<MigrationFlags> AnyFlags = Gen.Select(Gen.Bool, Gen.Bool, Flags);

    /// <summary>The arcs of §6.2, with the flags under which they are primitive.</summary>
    public static TheoryData<MigrationState, MigrationState, StreamDirection, bool> PrimitiveArcs() => new()
    {
        { Stop, Resuming, StreamDirection.Writable, false },
        { Resuming, Stop, StreamDirection.None, true },
        { Stop, StopCopy, StreamDirection.Readable, false },
        { StopCopy, Stop, StreamDirection.None, true },
        { Running, Stop, StreamDirection.None, false },
        { Stop, Running, StreamDirection.None, false },
        { Running, RunningP2P, StreamDirection.None, false },
        { RunningP2P, Running, StreamDirection.None, false },
        { RunningP2P, Stop, StreamDirection.None, false },
        { Stop, RunningP2P, StreamDirection.None, false },
        { Running, PreCopy, StreamDirection.Readable, false },
        { PreCopy, Running, StreamDirection.None, true },
        { PreCopy, StopCopy, StreamDirection.None, false },
        { PreCopy, PreCopyP2P, StreamDirection.None, false },
        { PreCopyP2P, PreCopy, StreamDirection.None, false },
        { RunningP2P, PreCopyP2P, StreamDirection.Readable, false },
        { PreCopyP2P, RunningP2P, StreamDirection.None, true },
        { PreCopyP2P, StopCopy, StreamDirection.None, false },
    };

    public static IEnumerable<TheoryDataRow<ArcRow>> Contract() =>
        File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Contract", "mig-arcs.tsv"))
            .Skip(1)
            .Select(line => new TheoryDataRow<ArcRow>(ArcRow.Read(line)));

    [Fact]
    public void The_table_has_all_256_combinations() =>
        Assert.Equal(256, Contract().Select(row => (row.Data.Current, row.Data.Target, row.Data.Flags)).Distinct().Count());

    [Theory]
    [MemberData(nameof(Contract))]
    public void Next_gives_the_hop_of_the_table_or_EINVAL(ArcRow row)
    {
        var next = MigrationArcs.Next(row.Current, row.Target, row.Flags);

        Assert.Equal((row.Next is null ? Errno.EINVAL : Errno.None, row.Next), (next.Error.Errno, next.IsOk ? next.Value : null));
    }

    [Theory]
    [MemberData(nameof(Contract))]
    public void Path_gives_the_path_of_the_table_or_EINVAL(ArcRow row)
    {
        var path = MigrationArcs.Path(row.Current, row.Target, row.Flags);

        Assert.Equal(row.Path is null ? Errno.EINVAL : Errno.None, path.Error.Errno);
        if (row.Path is not null)
            Assert.Equal(row.Path, path.Value.Prepend(row.Current));
    }

    [Theory]
    [MemberData(nameof(Contract))]
    public void The_states_have_the_names_and_numbers_of_the_table(ArcRow row) =>
        Assert.Equal((row.CurrentName, row.TargetName), (KernelName(row.Current), KernelName(row.Target)));

    [Theory]
    [InlineData(MigrationFlags.StopCopy, "Stop Running StopCopy Resuming")]
    [InlineData(MigrationFlags.StopCopy | MigrationFlags.PreCopy, "Stop Running StopCopy Resuming PreCopy")]
    [InlineData(MigrationFlags.StopCopy | MigrationFlags.P2P, "Stop Running StopCopy Resuming RunningP2P")]
    [InlineData(Everything, "Stop Running StopCopy Resuming RunningP2P PreCopy PreCopyP2P")]
    [InlineData(MigrationFlags.P2P | MigrationFlags.PreCopy, "")]
    [InlineData(MigrationFlags.None, "")]
    public void The_flags_decide_which_states_are_supported_MG_5(MigrationFlags flags, string expected) =>
        Assert.Equal(expected, string.Join(' ', Enum.GetValues<MigrationState>().Where(state => MigrationArcs.IsSupported(state, flags))));

    [Theory]
    [InlineData(8)]
    [InlineData(-1)]
    [InlineData(int.MaxValue)]
    public void A_number_that_is_no_state_is_refused_on_either_side_MG_10(int number)
    {
        Assert.Equal(Errno.EINVAL, MigrationArcs.Next(Running, (MigrationState)number, Everything).Error.Errno);
        Assert.Equal(Errno.EINVAL, MigrationArcs.Next((MigrationState)number, Running, Everything).Error.Errno);
    }

    [Theory]
    [InlineData(Error, Running, Everything, "The device is in migration state ERROR, and only a reset leads out of it; reset the device.")]
    [InlineData(
        PreCopy, Running, MigrationFlags.StopCopy,
        "The device is in a migration state that its flags do not support; this is a fault of its driver.")]
    [InlineData(Running, Error, Everything, "Migration state ERROR cannot be asked for; ask for one of the other states.")]
    [InlineData(
        Running, PreCopy, MigrationFlags.StopCopy,
        "The device does not support this migration state; ask feature MIGRATION for its flags.")]
    [InlineData(StopCopy, PreCopy, Everything, "A device in STOP_COPY cannot go back to pre-copy; take it to RUNNING first.")]
    public void A_refusal_says_why(MigrationState current, MigrationState target, MigrationFlags flags, string sentence) =>
        Assert.Equal(sentence, MigrationArcs.Next(current, target, flags).Error.Sentence);

    [Fact]
    public void Next_allocates_nothing()
    {
        AskForEveryCombination(); // The first time, the runtime makes the literals.
        var before = GC.GetAllocatedBytesForCurrentThread();
        AskForEveryCombination();

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [MemberData(nameof(PrimitiveArcs))]
    public void A_primitive_arc_opens_and_closes_the_streams_of_the_contract(
        MigrationState from, MigrationState to, StreamDirection opens, bool closes) =>
        Assert.Equal((opens, closes), (MigrationArcs.OpensStream(from, to), MigrationArcs.ClosesStream(from, to)));

    [Fact]
    public void Exactly_four_arcs_open_a_stream_MG_20() =>
        Assert.Equal(
            [(Stop, StopCopy), (Stop, Resuming), (Running, PreCopy), (RunningP2P, PreCopyP2P)],
            AllPairs().Where(arc => MigrationArcs.OpensStream(arc.From, arc.To) != StreamDirection.None));

    [Fact]
    public void Staying_in_a_state_keeps_its_stream_MG_4() =>
        Assert.All(Enum.GetValues<MigrationState>(), state => Assert.False(MigrationArcs.ClosesStream(state, state)));

    [Fact]
    public void A_move_inside_the_saving_group_keeps_the_stream_MG_21() =>
        Assert.All(
            AllPairs().Where(arc => SavingGroup.Contains(arc.From) && SavingGroup.Contains(arc.To)),
            arc => Assert.False(MigrationArcs.ClosesStream(arc.From, arc.To)));

    [Fact]
    public void A_fall_into_error_leaves_the_stream_to_the_reset_MG_34() =>
        Assert.All(Enum.GetValues<MigrationState>(), state => Assert.False(MigrationArcs.ClosesStream(state, Error)));

    [Fact]
    public void A_path_has_at_most_four_hops_MG_53() =>
        AnyPath((_, path) => Assert.InRange(path.Count, 0, 4));

    [Fact]
    public void Only_the_last_hop_of_a_path_opens_a_stream_MG_53() =>
        AnyPath((current, path) => Assert.DoesNotContain(
            Arcs(current, path).SkipLast(1), arc => MigrationArcs.OpensStream(arc.From, arc.To) != StreamDirection.None));

    [Fact]
    public void A_walk_has_one_stream_exactly_in_the_states_that_have_one_MG_53() =>
        Gen.Select(AnyFlags, AnyState.Array[0, 20]).Sample((flags, targets) =>
        {
            var (state, stream) = (Running, StreamDirection.None);
            foreach (var target in targets)
            {
                var path = MigrationArcs.Path(state, target, flags);
                if (!path.IsOk)
                    continue;
                foreach (var (from, to) in Arcs(state, path.Value))
                {
                    if (MigrationArcs.ClosesStream(from, to))
                        stream = StreamDirection.None;
                    var opened = MigrationArcs.OpensStream(from, to);
                    Assert.True(opened == StreamDirection.None || stream == StreamDirection.None, $"{from} to {to} opens a second stream");
                    stream = opened == StreamDirection.None ? stream : opened;
                    state = to;
                }

                Assert.Equal(StreamOf(state), stream);
            }
        });

    [Fact]
    public void A_path_passes_only_through_supported_states_and_no_state_twice() =>
        Gen.Select(AnyState, AnyState, AnyFlags).Sample((current, target, flags) =>
        {
            var path = MigrationArcs.Path(current, target, flags);
            if (!path.IsOk)
                return;
            Assert.All(path.Value, state => Assert.True(MigrationArcs.IsSupported(state, flags)));
            Assert.Distinct(path.Value.Prepend(current));
        });

    private static void AskForEveryCombination()
    {
        for (var number = 0; number < 8 * 8 * 8; number++)
            MigrationArcs.Next((MigrationState)(number & 7), (MigrationState)((number >> 3) & 7), (MigrationFlags)(number >> 6));
    }

    private static void AnyPath(Action<MigrationState, IReadOnlyList<MigrationState>> check) =>
        Gen.Select(AnyState, AnyState, AnyFlags).Sample((current, target, flags) =>
        {
            var path = MigrationArcs.Path(current, target, flags);
            if (path.IsOk)
                check(current, path.Value);
        });

    private static StreamDirection StreamOf(MigrationState state) => state switch
    {
        PreCopy or PreCopyP2P or StopCopy => StreamDirection.Readable,
        Resuming => StreamDirection.Writable,
        _ => StreamDirection.None,
    };

    private static IEnumerable<(MigrationState From, MigrationState To)> Arcs(
        MigrationState current, IReadOnlyList<MigrationState> path) => path.Prepend(current).Zip(path);

    private static IEnumerable<(MigrationState From, MigrationState To)> AllPairs() =>
        from a in Enum.GetValues<MigrationState>() from b in Enum.GetValues<MigrationState>() select (a, b);

    private static MigrationFlags Flags(bool p2p, bool preCopy) =>
        MigrationFlags.StopCopy | (p2p ? MigrationFlags.P2P : 0) | (preCopy ? MigrationFlags.PreCopy : 0);

    private static string KernelName(MigrationState state) => state switch
    {
        Error => "ERROR",
        Stop => "STOP",
        Running => "RUNNING",
        StopCopy => "STOP_COPY",
        Resuming => "RESUMING",
        RunningP2P => "RUNNING_P2P",
        PreCopy => "PRE_COPY",
        PreCopyP2P => "PRE_COPY_P2P",
        _ => throw new ArgumentOutOfRangeException(nameof(state), state, null),
    };

    /// <summary>One row of mig-arcs.tsv; no next and no path where the kernel answers EINVAL.</summary>
    public sealed record ArcRow(
        string CurrentName,
        string TargetName,
        MigrationState Current,
        MigrationState Target,
        MigrationFlags Flags,
        MigrationState? Next,
        IReadOnlyList<MigrationState>? Path)
    {
        public static ArcRow Read(string line)
        {
            var row = line.Split('\t');
            var (current, target) = ((MigrationState)int.Parse(row[7]), (MigrationState)int.Parse(row[8]));
            var flags = MigrationArcsTests.Flags(row[2] == "1", row[3] == "1");
            var refused = new ArcRow(row[0], row[1], current, target, flags, Next: null, Path: null);
            return row[4] == "0"
                ? refused with { Next = (MigrationState)int.Parse(row[9]), Path = [.. row[11].Split('>').Select(Named)] }
                : refused;
        }

        public override string ToString() => $"{CurrentName} to {TargetName}, {Flags}";

        private static MigrationState Named(string name) => Enum.GetValues<MigrationState>().Single(state => KernelName(state) == name);
    }
}
