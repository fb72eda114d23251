using Fabric.Devices;
using Fabric.Drivers.Conformance.Harness;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Xunit;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Conformance;

/// <summary>Streams: how state goes from one device to another, and which must not.</summary>
public abstract partial class MigratingDriverConformance
{
    /// <summary>A stream of more than this is a driver's that does not end.</summary>
    private const int MaxStream = 1 << 28;

    // ---- What must not arrive --------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(BadStream.Truncated)]
    [InlineData(BadStream.Reordered)]
    [InlineData(BadStream.Duplicated)]
    [InlineData(BadStream.Oversized)]
    [InlineData(BadStream.OtherVersion)]
    [InlineData(BadStream.OtherDevice)]
    public Task A_stream_that_is_bad_is_refused_and_the_device_works_after_a_reset(BadStream bad) => TryAsync(1, async (world, random) =>
    {
        var good = await GoodStreamAsync(world, random);
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        foreach (var (stream, what) in await BadStreamsAsync(world, bad, good, random))
        {
            var loading = (await EnterAsync(lab, guest, Resuming))!;
            var written = await WriteAsync(world, loading, stream, random);
            var set = await lab.AskAsync(new SetMigrationState(guest.Session, Stop));

            var refused = !written.IsOk || set is DeviceFailed;
            Assert.True(refused || !Refuses(bad), $"A stream that is bad ({bad}: {what}) was taken.");
            guest = await UseAsync(lab, guest, random);
            await LoadAsync(lab, guest, good, random);
            await UseAsync(lab, guest, random);
        }

        await AssertBlamelessAsync(lab);
    });

    private async Task<List<(byte[] Stream, string What)>> BadStreamsAsync(World world, BadStream bad, byte[] good, Random random)
    {
        var all = new List<(byte[] Stream, string What)>();
        switch (bad)
        {
            case BadStream.Truncated:
                foreach (var length in Some(1, good.Length).Append(good.Length - 1).Append(Math.Min(HeaderBytes, good.Length - 1)))
                    all.Add((good[..length], $"{length} of {good.Length} bytes"));
                break;
            case BadStream.Reordered:
                foreach (var cut in Some(1, good.Length))
                    all.Add(([.. good[cut..], .. good[..cut]], $"what comes from byte {cut} on first"));
                break;
            case BadStream.Duplicated:
                all.Add(([.. good, .. good], "twice"));
                break;
            case BadStream.Oversized:
                foreach (var more in new[] { 1, random.Next(2, 5000) })
                {
                    var noise = new byte[more];
                    random.NextBytes(noise);
                    all.Add(([.. good, .. noise], $"{more} bytes after its end"));
                }

                break;
            case BadStream.OtherVersion:
                for (var at = 0; at < Math.Min(HeaderBytes, good.Length); at++)
                {
                    var other = good.ToArray();
                    other[at] ^= (byte)(1 << random.Next(8));
                    all.Add((other, $"byte {at} is 0x{other[at]:x2}, not 0x{good[at]:x2}"));
                }

                break;
            case BadStream.OtherDevice:
                var foreign = new byte[good.Length];
                random.NextBytes(foreign);
                all.Add((foreign, "noise"));
                all.Add((new byte[good.Length], "nothing but zeroes"));
                if (CreateOther(world.Time) is { } device)
                {
                    var lab = await StartAsync(world, device: device);
                    all.Add((await SaveAsync(lab, await lab.OpenAsync(), random), "another device's"));
                }

                break;
        }

        // What happens to be the good one is not bad.
        all.RemoveAll(one => one.Stream.AsSpan().SequenceEqual(good));
        Assert.NotEmpty(all);
        return all;

        IEnumerable<int> Some(int from, int to) => Enumerable.Range(0, 8).Select(_ => random.Next(from, to)).Distinct().ToArray();
    }

    // ---- Moving ----------------------------------------------------------------------------------------------------------------------

    /// <summary>Takes the source along a path that ends in STOP_COPY, with work on the way, and all that it sends to the target.</summary>
    private async Task MoveAsync(Lab source, GuestDevice from, Lab target, GuestDevice to, IReadOnlyList<MigrationState> path, Random random)
    {
        IMigrationStream? saving = null;
        var loading = (await EnterAsync(target, to, Resuming))!;
        foreach (var state in path)
        {
            if (await EnterAsync(source, from, state) is { } opened)
            {
                if (saving is not null)
                {
                    // What came before is void: another stream begins.
                    await target.ExpectAsync<DeviceDone>(new ResetDevice(to.Session));
                    loading = (await EnterAsync(target, to, Resuming))!;
                }

                saving = opened;
            }

            for (var round = 0; state is PreCopy or PreCopyP2P && round < 3; round++)
            {
                Assert.True(saving!.GetPrecopyInfo().IsOk, $"PRECOPY_INFO in {state}: {saving.GetPrecopyInfo().Error}");
                await PumpAsync(source.World, saving, loading, random, most: 1 << random.Next(24));
                if (state == PreCopy)
                    await WorkAsync(from, random);
            }
        }

        var ended = await PumpAsync(source.World, saving!, loading, random, most: MaxStream);
        Assert.True(ended, $"By {string.Join(", ", path)}: the stream does not end in STOP_COPY.");
    }

    /// <summary>From one stream to the other, at random sizes. True where the end was read, in STOP_COPY.</summary>
    private static async Task<bool> PumpAsync(World world, IMigrationStream from, IMigrationStream to, Random random, int most)
    {
        for (var moved = 0; moved < most;)
        {
            var chunk = new byte[AnySize(random)];
            var read = await InTimeAsync(world, () => from.Read(chunk));
            if (read is { IsOk: false, Error.Errno: Errno.ENOMSG })
                return false;
            Assert.True(read.IsOk, $"A read of the stream: {read.Error}");
            if (read.Value == 0)
                return true;
            var written = await WriteAsync(world, to, chunk.AsMemory(0, read.Value), random);
            Assert.True(written.IsOk, $"A write of a good stream: {written.Error}");
            moved += read.Value;
        }

        return false;
    }

    /// <summary>A whole stream, of a device that has worked.</summary>
    private async Task<byte[]> GoodStreamAsync(World world, Random random)
    {
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        await WorkAsync(guest, random);
        var stream = await SaveAsync(lab, guest, random);
        Assert.True(stream.Length > 1, "The stream of a whole device is empty.");
        return stream;
    }

    private static async Task<byte[]> SaveAsync(Lab lab, GuestDevice guest, Random random)
    {
        var stream = (await EnterAsync(lab, guest, StopCopy))!;
        var all = new List<byte>();
        while (true)
        {
            var chunk = new byte[AnySize(random)];
            var read = await InTimeAsync(lab.World, () => stream.Read(chunk));
            Assert.True(read.IsOk, $"A read in STOP_COPY: {read.Error}");
            if (read.Value == 0)
                return [.. all];
            all.AddRange(chunk.AsSpan(0, read.Value));
            Assert.True(all.Count < MaxStream, "The stream does not end.");
        }
    }

    /// <summary>A good stream into a device that runs; it stands after it.</summary>
    private static async Task LoadAsync(Lab lab, GuestDevice guest, byte[] good, Random random)
    {
        var written = await WriteAsync(lab.World, (await EnterAsync(lab, guest, Resuming))!, good, random);
        Assert.True(written.IsOk, $"A good stream, after a reset: {written.Error}");
        await lab.ExpectAsync<MigrationStateSet>(new SetMigrationState(guest.Session, Stop));
    }

    /// <summary>At random sizes, until the first error or the end.</summary>
    private static async Task<VfioResult> WriteAsync(World world, IMigrationStream stream, ReadOnlyMemory<byte> bytes, Random random)
    {
        while (!bytes.IsEmpty)
        {
            var part = bytes[..Math.Min(AnySize(random), bytes.Length)];
            var written = await InTimeAsync(world, () => stream.Write(part.Span) is { IsOk: false } failed ? failed.Error : new VfioResult<int>());
            if (!written.IsOk)
                return written.Error;
            bytes = bytes[part.Length..];
        }

        return VfioResult.Ok;
    }

    /// <summary>Again where it says EAGAIN, when a little time has passed.</summary>
    private static async Task<VfioResult<int>> InTimeAsync(World world, Func<VfioResult<int>> call)
    {
        var result = call();
        for (var times = 0; result.Error.Errno == Errno.EAGAIN && times < 1000; times++)
        {
            world.Advance(TimeSpan.FromMilliseconds(1));
            await Task.Yield();
            result = call();
        }

        return result;
    }

    private static int AnySize(Random random) => random.Next(1, 2 << random.Next(17));

    private static string Difference(byte[] one, byte[] other) => one.Length != other.Length
        ? $"{one.Length} and {other.Length} bytes"
        : $"of {one.Length} bytes the first that differs is {one.AsSpan().CommonPrefixLength(other)}";

    // ---- States ----------------------------------------------------------------------------------------------------------------------

    private static async Task<MigrationFlags> FlagsAsync(Lab lab, GuestDevice guest) =>
        (await lab.ExpectAsync<MigrationFlagsRead>(new GetMigrationFlags(guest.Session))).Flags;

    private static async Task<IEnumerable<MigrationState>> StatesAsync(Lab lab, GuestDevice guest)
    {
        var flags = await FlagsAsync(lab, guest);
        return States.Where(state => MigrationArcs.IsSupported(state, flags));
    }

    /// <summary>Primitive arcs that a device with these flags is taken along.</summary>
    private static async Task<(MigrationState From, MigrationState To)[]> ArcsAsync(Lab lab, GuestDevice guest)
    {
        var flags = await FlagsAsync(lab, guest);
        return
        [
            .. from one in States
               from other in States
               where one != other && MigrationArcs.Path(one, other, flags) is { IsOk: true, Value.Count: 1 }
               select (one, other),
        ];
    }

    private async Task<IEnumerable<MigrationState[]>> PathsAsync(World world)
    {
        var lab = await StartAsync(world);
        var flags = await FlagsAsync(lab, await lab.OpenAsync());
        MigrationState[][] paths =
        [
            [StopCopy], [Stop, StopCopy], [RunningP2P, StopCopy], [PreCopy, StopCopy], [PreCopy, PreCopyP2P, StopCopy],
            [RunningP2P, PreCopyP2P, StopCopy], [PreCopy, PreCopyP2P, PreCopy, StopCopy], [PreCopy, Running, StopCopy],
            [PreCopy, Stop, Running, PreCopy, StopCopy],
        ];
        return paths.Where(path => path.All(state => MigrationArcs.IsSupported(state, flags)));
    }

    private static async Task<IMigrationStream?> EnterAsync(Lab lab, GuestDevice guest, MigrationState state) =>
        (await lab.ExpectAsync<MigrationStateSet>(new SetMigrationState(guest.Session, state))).Stream;

    /// <summary>In a state from RUNNING, ready for whatever arc comes next.</summary>
    private static async Task<IMigrationStream?> StandAsync(Lab lab, GuestDevice guest, MigrationState state, byte[] good, Random random)
    {
        await lab.ExpectAsync<DeviceDone>(new ResetDevice(guest.Session));
        var stream = await EnterAsync(lab, guest, state);
        if (state == Resuming)
            Assert.True((await WriteAsync(lab.World, stream!, good, random)).IsOk);
        return stream;
    }

    /// <summary>How often the driver touches hardware on an arc.</summary>
    private static async Task<int> StepsAsync(Lab lab, GuestDevice guest, MigrationState from, MigrationState to, byte[] good, Random random)
    {
        await StandAsync(lab, guest, from, good, random);
        var steps = 0;
        lab.Function.Before = () => steps++;
        await EnterAsync(lab, guest, to);
        lab.Function.Before = null;
        return steps;
    }

    /// <summary>Once, before the n-th time from now that the driver touches hardware.</summary>
    private static void AtStep(Lab lab, int step, Action act)
    {
        var left = step;
        lab.Function.Before = () =>
        {
            if (left-- == 0)
                act();
        };
    }

    private static async Task AssertIsOverAsync(Lab lab, GuestDevice guest, IMigrationStream? stream, string after)
    {
        var state = await lab.StateAsync(guest);
        Assert.True(state == Running, $"After {after} the device is in {state}.");
        AssertEnded(stream, after);
    }

    private static void AssertEnded(IMigrationStream? stream, string after)
    {
        if (stream is null)
            return;
        var (read, written) = (stream.Read(new byte[1]).Error.Errno, stream.Write(new byte[1]).Error.Errno);
        // One way is ENODEV, the other was none ever.
        Assert.True(
            (read, written) is (Errno.ENODEV, Errno.EINVAL or Errno.ENODEV) or (Errno.EINVAL, Errno.ENODEV),
            $"After {after} its stream still answers: {read} to a read, {written} to a write.");
    }
}
