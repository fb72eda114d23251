using CsCheck;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Mlx5;

/// <summary>
/// Whatever a device holds arrives, in whatever pieces it goes, however long it is copied while it runs. CsCheck prints the seed of a failure.
/// </summary>
public sealed class Mlx5MoveTests
{
    /// <summary>Bytes of memory written, or work posted; and a look at PRECOPY_INFO, or not.</summary>
    private readonly record struct Use(int Offset, byte[] Bytes, uint Work, bool Looks, bool IsReconfigured);

    private static readonly Gen<Use> AnyUse = Gen.Select(
        Gen.Int[0, Mlx5Machine.MemoryBytes - 1], Gen.Byte.Array[0, 5000], Gen.UInt[0, 40], Gen.Bool, Gen.Int[0, 9].Select(die => die == 0),
        (offset, bytes, work, looks, isReconfigured) => new Use(offset, bytes, work, looks, isReconfigured));

    private static readonly Gen<int[]> AnyPieces = Gen.Int[1, 20_000].Array[1, 10];

    [Fact]
    public void Whatever_a_device_holds_arrives_byte_for_byte_in_any_pieces_MG_23_MG_24_VD_MLX_2_VD_MLX_3() => Gen.Select(
        AnyUse.Array[0, 20], Gen.Int[5000, 100_000], AnyPieces, AnyPieces, Gen.Bool, Gen.Int[0, 12]).Sample(
        (uses, chunkBytes, reads, writes, preCopy, fails) =>
        {
            using var source = new Mlx5Machine(chunkBytes).Used(seed: uses.Length);
            using var target = new Mlx5Machine(chunkBytes);
            var to = target.Enter(Resuming);
            IMigrationStream? stream = null;
            var bytes = new List<byte>();
            if (preCopy)
                stream = source.Enter(PreCopy);
            for (var at = 0; at < uses.Length; at++)
            {
                Do(source, uses[at], stream);
                if (stream is not null && at == fails)
                    source.Function.FailNextSave(Mlx5Status.BadResourceState, last: false);
                if (stream is not null)
                    ReadSome(source, stream, reads[at % reads.Length], bytes);
            }

            stream = source.Enter(StopCopy) ?? stream;
            bytes.AddRange(source.Read(stream!, reads[0]).Value);
            Write(to, [.. bytes], writes);
            target.Enter(Stop);
            Assert.Equal(source.Function.State, target.Function.State);

            // Both go on the same.
            foreach (var machine in new[] { source, target })
            {
                machine.Enter(Running);
                Do(machine, new Use(1, [1, 2], 7, false, false), null);
            }

            Assert.Equal(source.Function.State, target.Function.State);
        }, iter: 200);

    private static void Do(Mlx5Machine machine, Use use, IMigrationStream? stream)
    {
        machine.WriteMemory(use.Offset, use.Bytes.AsSpan(0, Math.Min(use.Bytes.Length, Mlx5Machine.MemoryBytes - use.Offset)));
        machine.Post(use.Work);
        if (use.IsReconfigured)
            machine.Function.BeginFreshStartUpSet();
        if (use.Looks && stream is not null)
            Assert.True(stream.GetPrecopyInfo().IsOk);
    }

    /// <summary>A piece, and a moment.</summary>
    private static void ReadSome(Mlx5Machine machine, IMigrationStream stream, int length, List<byte> bytes)
    {
        var piece = new byte[length];
        var read = stream.Read(piece);
        Assert.True(read.IsOk || read.Error.Errno == Errno.ENOMSG, read.Error.ToString());
        if (read.IsOk)
            bytes.AddRange(piece[..read.Value]);
        machine.Time.Advance(TimeSpan.FromMilliseconds(0.7));
    }

    private static void Write(IMigrationStream stream, byte[] bytes, int[] pieces)
    {
        for (var (at, piece) = (0, 0); at < bytes.Length; piece++)
        {
            var part = Math.Min(pieces[piece % pieces.Length], bytes.Length - at);
            var written = stream.Write(bytes.AsSpan(at, part));
            Assert.True(written.IsOk, written.Error.ToString());
            at += part;
        }
    }
}
