using Fabric.Hardware.Specs.Accelerator;
using Fabric.Migration.Hosts;
using Fabric.Node.Consumers;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Node.Tests.Consumers;

public sealed class AcceleratorGuestTests
{
    [Fact]
    public async Task A_healthy_device_is_seen_to_lose_repeat_and_tear_nothing()
    {
        await using var rig = await GuestRig.StartAsync();

        rig.Run(500);

        Assert.Equal((0, 0, 0), Damage(rig.Counters));
        Assert.InRange(rig.Counters.Steps, 4_900, 5_000);
    }

    [Fact]
    public async Task A_record_put_together_from_two_counts_as_torn()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);

        rig.DamageUnseen(4, it => it.RecordOf(it.Head - 3) = it.RecordOf(it.Head - 3) with { Value = it.RecordOf(it.Head - 4).Value });

        Assert.Equal((0, 0, 1), Damage(rig.Counters));
    }

    [Fact]
    public async Task A_flipped_bit_in_a_new_record_counts_as_torn()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);

        rig.DamageUnseen(4, it => it.FlipMemory(GuestRig.MemoryOffsetOf(it.Head - 1) + 17));

        Assert.Equal((0, 0, 1), Damage(rig.Counters));
    }

    [Fact]
    public async Task A_slot_that_still_holds_the_step_of_a_pass_before_counts_as_lost()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.RunToStep(2000);
        var old = rig.RecordOf(rig.Head);

        rig.DamageUnseen(4, it => it.RecordOf(old.Step + GuestRig.Slots) = old);

        Assert.Equal((1, 0, 0), Damage(rig.Counters));
    }

    [Fact]
    public async Task A_record_that_never_arrived_counts_as_lost()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);

        rig.DamageUnseen(4, it => it.RecordOf(it.Head - 2) = default);

        Assert.Equal((1, 0, 0), Damage(rig.Counters));
    }

    [Fact]
    public async Task A_page_that_never_arrived_is_lost_record_by_record()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);

        rig.DamageUnseen(15, it =>
        {
            for (var step = it.Head - 128; step < it.Head; step++)
                it.RecordOf(step) = default;
        });

        Assert.Equal((128, 0, 0), Damage(rig.Counters));
    }

    [Fact]
    public async Task A_head_that_goes_back_counts_every_step_as_repeated()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);
        await rig.SetStateAsync(MigrationState.Stop);
        rig.Run(5);

        rig.Head -= 7;
        rig.Run(5);

        Assert.Equal((0, 7, 0), Damage(rig.Counters));
    }

    [Fact]
    public async Task A_slot_that_holds_a_later_step_counts_as_repeated()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);

        rig.DamageUnseen(4, it => it.RecordOf(it.Head - 1) = AcceleratorRecord.Of(it.Head - 1 + GuestRig.Slots, 0, 1));

        Assert.Equal((0, 1, 0), Damage(rig.Counters));
    }

    [Fact]
    public async Task A_guest_that_stands_looks_at_nothing()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);
        rig.Guest.Pause();
        var before = rig.Counters;

        rig.Run(50);

        Assert.Equal(before, rig.Counters);
    }

    [Fact]
    public async Task The_longest_gap_is_how_long_the_device_stood()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);
        await rig.SetStateAsync(MigrationState.Stop);
        rig.Run(200);
        await rig.SetStateAsync(MigrationState.Running);

        rig.Run(20);

        Assert.InRange(rig.Counters.LongestGapMs, 200, 215);
    }

    [Fact]
    public async Task A_gap_of_before_a_migration_is_not_one_of_the_migration()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);
        await rig.SetStateAsync(MigrationState.Stop);
        rig.Run(200);
        await rig.SetStateAsync(MigrationState.Running);
        rig.Run(20);

        rig.Guest.ForgetGaps();
        rig.Run(20);

        Assert.InRange(rig.Counters.LongestGapMs, 1, 15);
    }

    [Fact]
    public async Task A_guest_that_moves_with_its_memory_goes_on_without_damage()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);
        await rig.SetStateAsync(MigrationState.Stop);
        rig.Run(5);
        var before = rig.Counters;

        Assert.True(rig.Replace().IsOk);

        Assert.Equal(before, rig.Counters);
        Assert.Equal(0, (await rig.VerifyAsync()).Damaged);
    }

    [Fact]
    public async Task A_guest_that_moves_without_one_page_of_its_memory_is_found_out()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.RunToStep(2000);
        await rig.SetStateAsync(MigrationState.Stop);
        rig.Run(5);

        Assert.True(rig.Replace(memory => memory.Window(8192, 4096).Clear()).IsOk);

        Assert.Equal(4096 / AcceleratorRecord.Bytes, (await rig.VerifyAsync()).Damaged);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(47)]
    [InlineData(49)]
    public async Task A_state_that_is_not_a_guests_is_refused(int bytes)
    {
        await using var rig = GuestRig.Create();

        Assert.Equal(Errno.EINVAL, rig.Guest.LoadState(new byte[bytes]).Error.Errno);
    }

    [Fact]
    public async Task A_device_that_is_no_accelerator_is_refused()
    {
        await using var rig = GuestRig.Create(virtualFunctions: 0);
        var physical = await rig.OpenAsync(rig.PhysicalFunction);

        Assert.Equal(Errno.ENODEV, (await rig.Guest.StartAsync(physical)).Error.Errno);
    }

    // ---- Verifying -------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(50)]
    [InlineData(900)]
    public async Task Verifying_a_healthy_device_compares_all_of_it_and_finds_nothing(int milliseconds)
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(milliseconds);

        var result = await rig.VerifyAsync();

        Assert.Equal(
            new VerificationResult((long)rig.Head, Math.Min((long)rig.Head, GuestRig.Slots), GuestRig.StateBytes / AcceleratorState.CellBytes, 0), result);
    }

    public static TheoryData<int> BytesOfARecord => [.. Enumerable.Range(0, AcceleratorRecord.Bytes)];

    [Theory, MemberData(nameof(BytesOfARecord))]
    public async Task Verifying_finds_any_single_byte_of_a_record_that_was_flipped(int at)
    {
        await using var rig = await GuestRig.StartAsync();
        rig.RunToStep(2000);

        var result = await rig.VerifyAsync(it =>
        {
            it.FlipMemory(GuestRig.MemoryOffsetOf(it.Head - 1000) + (ulong)at);
            return Task.CompletedTask;
        });

        Assert.Equal(1, result.Damaged);
    }

    [Theory]
    [InlineData(GuestRig.RingOffset)]
    [InlineData(GuestRig.MemoryBytes - 1)]
    [InlineData(0)]
    [InlineData(7)]
    public async Task Verifying_finds_a_flipped_byte_at_the_ends_of_memory(int offset)
    {
        await using var rig = await GuestRig.StartAsync();
        rig.RunToStep(2000);

        var result = await rig.VerifyAsync(it =>
        {
            it.FlipMemory((ulong)offset);
            return Task.CompletedTask;
        });

        Assert.Equal(1, result.Damaged);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1234)]
    [InlineData((int)GuestRig.StateBytes - 1)]
    public async Task Verifying_finds_a_single_flipped_byte_of_device_state(int offset)
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);

        var result = await rig.VerifyAsync(it =>
        {
            it.FlipState((ulong)offset);
            return Task.CompletedTask;
        });

        Assert.Equal(1, result.Damaged);
    }

    [Fact]
    public async Task Verifying_finds_two_counters_of_device_state_that_changed_places()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);

        // What is done to one counter and undone in another leaves their sum as it was.
        var result = await rig.VerifyAsync(it =>
        {
            it.FlipState(8);
            it.FlipState(16);
            return Task.CompletedTask;
        });

        Assert.Equal(1, result.Damaged);
    }

    [Fact]
    public async Task A_device_goes_on_after_it_was_verified()
    {
        await using var rig = await GuestRig.StartAsync();
        rig.Run(50);
        var verified = await rig.VerifyAsync();
        await rig.SetStateAsync(MigrationState.Running);
        rig.Guest.Resume();

        rig.Run(50);

        Assert.True(rig.Counters.Steps > verified.Steps);
        Assert.Equal((0, 0, 0), Damage(rig.Counters));
    }

    [Fact]
    public void The_factory_gives_a_guest_the_memory_that_was_asked_for()
    {
        using var guest = new GuestFactory(TimeProvider.System).Create("a", ["accelerator-vf"], 1 << 20, 1000);

        Assert.IsType<AcceleratorGuest>(Assert.Single(Assert.IsType<Guest>(guest).Programs));
        Assert.Equal(1UL << 20, guest.Memory.Length);
    }

    [Fact]
    public void A_device_that_no_program_knows_is_held_by_an_idle_guest()
    {
        using var guest = new GuestFactory(TimeProvider.System).Create("a", ["mlx5-vf"], 1 << 20, 1000);

        Assert.IsType<IdleGuest>(Assert.Single(Assert.IsType<Guest>(guest).Programs));
        Assert.Equal(1UL << 20, guest.Memory.Length);
    }

    private static (long Lost, long Repeated, long Torn) Damage(WorkloadCounters seen) => (seen.Lost, seen.Repeated, seen.Torn);
}
