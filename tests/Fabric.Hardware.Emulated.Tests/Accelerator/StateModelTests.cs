using Fabric.Hardware.Specs.Accelerator;

namespace Fabric.Hardware.Emulated.Tests.Accelerator;

/// <summary>The arithmetic of the specification against counting.</summary>
public sealed class StateModelTests
{
    private const long Cells = AcceleratorState.Tracks * 3;

    [Fact]
    public void Every_pass_of_steps_visits_every_counter_once()
    {
        var visited = Enumerable.Range(0, (int)Cells).Select(step => AcceleratorState.CellOf((ulong)step, Cells)).Order();

        Assert.Equal(Enumerable.Range(0, (int)Cells).Select(cell => (long)cell), visited);
    }

    [Fact]
    public void A_second_pass_visits_the_counters_in_the_same_order() => Assert.All(
        Enumerable.Range(0, (int)Cells),
        step => Assert.Equal(AcceleratorState.CellOf((ulong)step, Cells), AcceleratorState.CellOf((ulong)(step + Cells), Cells)));

    [Fact]
    public void Neighbouring_steps_are_on_different_tracks()
    {
        var tracks = Enumerable.Range(0, AcceleratorState.Tracks).Select(step => AcceleratorState.CellOf((ulong)step, Cells) / 3);

        Assert.Equal(AcceleratorState.Tracks, tracks.Distinct().Count());
    }

    [Fact]
    public void ValueAfter_is_what_counting_gives_for_every_number_of_steps_and_every_counter()
    {
        var counted = Enumerable.Range(0, (int)Cells).Select(cell => AcceleratorState.InitialValue(cell)).ToArray();
        for (ulong steps = 0; steps < 4 * Cells; steps++)
        {
            for (var cell = 0; cell < Cells; cell++)
                Assert.Equal(counted[cell], AcceleratorState.ValueAfter(steps, cell, Cells));
            counted[AcceleratorState.CellOf(steps, Cells)]++;
        }
    }

    [Fact]
    public void No_two_counters_start_alike() =>
        Assert.Equal((int)Cells, Enumerable.Range(0, (int)Cells).Select(cell => AcceleratorState.InitialValue(cell)).Distinct().Count());

    [Fact]
    public void Two_counters_that_swapped_values_change_the_digest() => Assert.NotEqual(
        AcceleratorState.Digest(0, 10) + AcceleratorState.Digest(1, 11),
        AcceleratorState.Digest(0, 11) + AcceleratorState.Digest(1, 10));

    [Fact]
    public void A_record_is_whole() => Assert.True(AcceleratorRecord.Of(7, 3, 42).IsWhole);

    [Fact]
    public void A_record_put_together_from_two_is_torn()
    {
        var (older, newer) = (AcceleratorRecord.Of(7, 3, 42), AcceleratorRecord.Of(263, 5, 43));

        Assert.False((older with { Step = newer.Step }).IsWhole);
        Assert.False((older with { Cell = newer.Cell }).IsWhole);
        Assert.False((older with { Value = newer.Value }).IsWhole);
        Assert.False((older with { Check = newer.Check }).IsWhole);
    }
}
