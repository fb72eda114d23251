using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Mlx5;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Migration.Hosts;

namespace Fabric.Migration.Tests.Hosts;

/// <summary>A device whose firmware saves by itself, and slower than its source reads.</summary>
public sealed class SlowSavingDeviceTests : IAsyncDisposable
{
    private const string Claim = "c1";
    private const string Device = "fab0:02:00.1";
    private const int Memory = 1 << 20;

    private static readonly EmulatedCard Card = new(EmulatedModels.Mlx5, VirtualFunctions: 1);

    private readonly TestHost alpha = new("alpha", cards: Card);
    private readonly TestHost beta = new("beta", cards: Card);

    public async ValueTask DisposeAsync()
    {
        await alpha.DisposeAsync();
        await beta.DisposeAsync();
    }

    /// <summary>Each part of it takes longer than the memory that is sent before it: there is nothing to read yet.</summary>
    [Fact]
    public async Task What_is_not_saved_yet_when_it_is_read_is_read_a_little_later_VD_MLX_3()
    {
        await alpha.Do<Attached>(new Attach(Claim, 1, [Device], Memory, 1000));
        var source = alpha.Functions.OfType<Mlx5VirtualFunction>().Single();
        var held = new byte[source.MemoryBytes];
        new Random(3).NextBytes(held);
        Assert.True(source.WriteRegion(Mlx5Bar.Memory, 0, held).IsOk);
        alpha.Functions.OfType<Mlx5PhysicalFunction>().Single().CommandTime = TimeSpan.FromMilliseconds(200);

        var prepared = await beta.Do<TargetPrepared>(new PrepareTarget(Claim, 2, 1, [Device], Memory, 1000));
        await alpha.Do<PreCopyProgress>(new StartPreCopy(Claim, 2, Device, 1, prepared.Endpoint, prepared.Token, 0));
        beta.Tell(new StopAndCopy(Claim, 2, Device, 1));
        var stopped = await alpha.Do<SourceStopped>(new StopAndCopy(Claim, 2, Device, 1));
        var loaded = await beta.Next<TargetLoaded>();

        Assert.Equal(stopped.Streams, loaded.Streams);
        Assert.Equal(source.State, beta.Functions.OfType<Mlx5VirtualFunction>().Single().State);
        Assert.Equal(held, source.State[^held.Length..]);
    }
}
