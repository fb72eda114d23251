using Fabric.Devices;
using Fabric.Migration.Hosts;
using Fabric.Node.Consumers;
using Fabric.Vfio;

namespace Fabric.Node.Tests.Consumers;

/// <summary>A guest of several programs, each with a device and a part of the one memory.</summary>
public sealed class GuestTests
{
    private readonly List<Program> programs = [];
    private readonly Guest guest;

    public GuestTests() => guest = new Guest(64 << 10, [Write, Write, Write]);

    [Fact]
    public void Each_program_has_a_page_aligned_part_of_the_memory_that_no_other_has()
    {
        foreach (var (index, program) in programs.Index())
            program.Memory.Window(0, (int)program.Memory.Length).Fill((byte)(index + 1));

        foreach (var (index, program) in programs.Index())
        {
            var part = guest.Memory.Window(program.Iova - guest.MemoryIova, (int)program.Memory.Length);
            Assert.Equal(0UL, program.Iova % 4096);
            Assert.False(part.ContainsAnyExcept((byte)(index + 1)));
        }
    }

    [Fact]
    public void A_program_cannot_reach_beyond_its_part()
    {
        Assert.ThrowsAny<ArgumentException>(() => { programs[0].Memory.Window(programs[0].Memory.Length - 1, 2); });
    }

    [Fact]
    public void What_each_program_saved_is_loaded_by_the_same_one()
    {
        foreach (var (index, program) in programs.Index())
            program.Own = [.. Enumerable.Repeat((byte)index, index)];
        var other = new GuestTests();

        Assert.True(other.guest.LoadState(guest.SaveState()).IsOk);
        Assert.Equal(programs.Select(static program => program.Own), other.programs.Select(static program => program.Own));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    public void A_state_that_is_too_short_or_too_long_is_refused(int more)
    {
        programs[2].Own = [1, 2, 3];
        var saved = guest.SaveState();
        Array.Resize(ref saved, saved.Length + more);

        Assert.Equal(Errno.EINVAL, guest.LoadState(saved).Error.Errno);
    }

    [Fact]
    public void Its_counters_are_those_of_all_and_its_longest_gap_is_the_longest()
    {
        programs[0].Seen = new WorkloadCounters(1, 2, 3, 4, LongestGapMs: 5);
        programs[1].Seen = new WorkloadCounters(10, 20, 30, 40, LongestGapMs: 50);
        programs[2].Seen = new WorkloadCounters(100, 200, 300, 400, LongestGapMs: 7);

        Assert.Equal(new WorkloadCounters(111, 222, 333, 444, LongestGapMs: 50), guest.Counters);
    }

    [Fact]
    public void All_stand_and_go_on_together()
    {
        guest.Resume();
        var gone = programs.Select(static program => program.Runs).ToArray();
        guest.Pause();

        Assert.Equal([true, true, true], gone);
        Assert.All(programs, static program => Assert.False(program.Runs));
    }

    private Program Write(GuestMemory memory, ulong iova)
    {
        var program = new Program(memory, iova);
        programs.Add(program);
        return program;
    }

    private sealed class Program(GuestMemory memory, ulong iova) : IGuestProgram
    {
        public GuestMemory Memory => memory;

        public ulong Iova => iova;

        public byte[] Own { get; set; } = [];

        public WorkloadCounters Seen { get; set; } = WorkloadCounters.None;

        public bool Runs { get; private set; }

        public WorkloadCounters Counters => Seen;

        public Task<VfioResult> StartAsync(DeviceClient device) => Task.FromResult(VfioResult.Ok);

        public void Pause() => Runs = false;

        public void Resume() => Runs = true;

        public void ForgetGaps()
        {
        }

        public byte[] SaveState() => Own;

        public VfioResult LoadState(ReadOnlySpan<byte> saved)
        {
            Own = saved.ToArray();
            return VfioResult.Ok;
        }

        public Task<VfioResult> RestoreConfigAsync(DeviceClient device) => Task.FromResult(VfioResult.Ok);

        public Task<VfioResult<VerificationResult>> VerifyAsync(DeviceClient device) =>
            Task.FromResult<VfioResult<VerificationResult>>(new VerificationResult(0, 0, 0, 0));

        public void Dispose()
        {
        }
    }
}
