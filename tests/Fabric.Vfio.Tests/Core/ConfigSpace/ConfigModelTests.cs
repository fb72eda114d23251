using CsCheck;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>Random functions and random walks against <see cref="ReferenceConfig"/>: what is read, what hardware holds, what is set off.</summary>
public sealed class ConfigModelTests
{
    private readonly record struct Step(int Kind, int Where, int Length, byte[] Data);

    private static readonly Gen<Step> AnyStep = Gen.Select(
        Gen.Int[0, 9], Gen.Int[0, 4095], Gen.Int[1, 12], Gen.Byte.Array[12], (kind, where, length, data) => new Step(kind, where, length, data));

    [Fact]
    public void Any_walk_agrees_with_a_plain_reading_of_the_contract_byte_by_byte_CF_1_CF_2_CF_3() =>
        Gen.Select(Gen.Int, AnyStep.Array[1, 60]).Sample(Walk, iter: FuzzRun.Times(1500));

    private static void Walk(int seed, Step[] walk)
    {
        var layout = new RandomLayout(seed);
        var model = new ReferenceConfig(layout);
        var effects = new RecordedEffects();
        var config = new VirtualConfig(layout.Function, effects);
        foreach (var step in walk)
        {
            Take(step, layout, model, config, effects);
            Assert.Equal(model.Hardware, layout.Function.Config);
            Assert.Equal(model.Effects, effects.Calls);
            Assert.Equal(model.MemoryEnabled, config.MemoryEnabled);
        }

        var view = new byte[config.Size];
        config.Read(0, view);
        Assert.Equal(Enumerable.Range(0, view.Length).Select(model.Read), view);
    }

    private static void Take(Step step, RandomLayout layout, ReferenceConfig model, VirtualConfig config, RecordedEffects effects)
    {
        var at = Aim(step, layout);
        var data = step.Data.AsSpan(0, Math.Min(step.Length, config.Size - at));
        switch (step.Kind)
        {
            case 0 or 1:
                Span<byte> read = stackalloc byte[data.Length];
                Assert.Equal(read.Length, config.Read((ulong)at, read).Value);
                for (var i = 0; i < read.Length; i++)
                    Assert.Equal(model.Read(at + i), read[i]);
                break;
            case 2:
                effects.IsMsiActive = model.IsMsiActive = step.Data[0] % 2 == 0;
                effects.MsiQueueMax = model.MsiQueueMax = step.Data[1] % 6;
                break;
            case 3 when at is not (>= 0x34 and < 0x40):
                // Hardware changes by itself: a reset behind the core's back, an error that is recorded.
                data.CopyTo(layout.Function.Config.AsSpan(at));
                data.CopyTo(model.Hardware.AsSpan(at));
                break;
            default:
                Assert.Equal(data.Length, config.Write((ulong)at, data).Value);
                for (var i = 0; i < data.Length; i++)
                    model.Write(at + i, data[i]);
                break;
        }
    }

    /// <summary>Mostly at the header or into a capability, where there is something to get wrong.</summary>
    private static int Aim(Step step, RandomLayout layout)
    {
        var placed = layout.Standard.Concat(layout.Extended).ToList();
        return (step.Data[11] % 4) switch
        {
            0 => step.Where % 0x40,
            1 => step.Where,
            _ when placed.Count == 0 => step.Where % 0x100,
            _ => placed[step.Where % placed.Count].Offset + (step.Where / 64 % placed[step.Where % placed.Count].Sample.Length),
        };
    }
}
