using Fabric.Devices;
using Fabric.Drivers.Conformance.Harness;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Xunit;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Conformance;

/// <summary>What every driver that migrates keeps to besides: contract §6, and the laws that nothing is lost and nothing runs twice.</summary>
public abstract partial class MigratingDriverConformance : DriverConformance
{
    private static readonly MigrationState[] States = [Stop, Running, StopCopy, Resuming, RunningP2P, PreCopy, PreCopyP2P];

    // ---- What an author may say besides ----------------------------------------------------------------------------------------------

    /// <summary>A device that the driver takes as well, and whose streams it must refuse; null tries noise alone.</summary>
    protected virtual TestedDevice? CreateOther(TimeProvider time) => null;

    /// <summary>First bytes of a stream of which none may be another one.</summary>
    protected virtual int HeaderBytes => 8;

    /// <summary>Whether it refuses such streams. Not where its kernel counterpart cannot tell; say why.</summary>
    protected virtual bool Refuses(BadStream bad) => true;

    /// <summary>Whether two whole streams, of a stopped source and of its target, say the same. Of those that carry more than state.</summary>
    protected virtual bool IsSameState(byte[] source, byte[] target) => source.AsSpan().SequenceEqual(target);

    // ---- Arcs ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task Every_transition_leads_where_the_kernels_table_says() => TryAsync(1, async (world, random) =>
    {
        var good = await GoodStreamAsync(world, random);
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        var flags = await FlagsAsync(lab, guest);
        Assert.True((flags & MigrationFlags.StopCopy) != 0, "A driver that migrates has the flag STOP_COPY.");
        foreach (var from in States.Where(state => MigrationArcs.IsSupported(state, flags)))
        {
            foreach (var to in Enum.GetValues<MigrationState>().Append((MigrationState)8))
            {
                await lab.ExpectAsync<DeviceDone>(new ResetDevice(guest.Session));
                var stream = await EnterAsync(lab, guest, from);
                if (from == Resuming)
                    await WriteAsync(world, stream!, good, random);
                var path = MigrationArcs.Path(from, to, flags);

                var reply = await lab.AskAsync(new SetMigrationState(guest.Session, to));

                if (!path.IsOk)
                {
                    Assert.True(reply is DeviceFailed { Error.Errno: Errno.EINVAL }, $"{from} to {to}, where no way leads: {reply}");
                    Assert.Equal(from, await lab.StateAsync(guest));
                    continue;
                }

                var last = path.Value.Count > 1 ? path.Value[^2] : from;
                var opens = path.Value.Count > 0 && MigrationArcs.OpensStream(last, to) != StreamDirection.None;
                Assert.True(reply is MigrationStateSet set && set.State == to && (set.Stream is not null) == opens, $"{from} to {to}: {reply}");
                Assert.Equal(to, await lab.StateAsync(guest));
            }
        }

        await AssertBlamelessAsync(lab);
    });

    // ---- Moves -----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task State_arrives_whole_by_every_path_and_under_load() => TryAsync(3, async (world, random) =>
    {
        foreach (var path in await PathsAsync(world))
        {
            var (source, target) = (await StartAsync(world), await StartAsync(world));
            var (from, to) = (await source.OpenAsync(), await target.OpenAsync());
            await WorkAsync(from, random);

            await MoveAsync(source, from, target, to, path, random);

            await target.ExpectAsync<MigrationStateSet>(new SetMigrationState(to.Session, Stop));
            await source.ExpectAsync<MigrationStateSet>(new SetMigrationState(from.Session, Stop));
            var (sent, arrived) = (await SaveAsync(source, from, random), await SaveAsync(target, to, random));
            var by = string.Join(", ", path);
            Assert.True(
                IsSameState(sent, arrived), $"By {by}: what the target would send on is not what its source had ({Difference(sent, arrived)}).");
            from.Memory.CopyTo(to.Memory.AsSpan());
            await source.ExpectAsync<MigrationStateSet>(new SetMigrationState(from.Session, Running));
            await target.ExpectAsync<MigrationStateSet>(new SetMigrationState(to.Session, Running));
            var (seen, seenThere) = (await ReadStateAsync(from), await ReadStateAsync(to));
            Assert.True(
                seen.AsSpan().SequenceEqual(seenThere), $"By {by}: the guest sees another state than at its source ({Difference(seen, seenThere)}).");
            Assert.Equal(from.Memory, to.Memory);
            await WorkAsync(to, random);
            await AssertBlamelessAsync(source);
            await AssertBlamelessAsync(target);
            await UseAsync(source, from, random);
            await UseAsync(target, to, random);
        }
    });

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public Task A_reset_in_every_state_leaves_RUNNING_no_stream_and_a_device_that_works(bool byHolder) => TryAsync(1, async (world, random) =>
    {
        var good = await GoodStreamAsync(world, random);
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        foreach (var state in await StatesAsync(lab, guest))
        {
            var stream = await EnterAsync(lab, guest, state);
            if (state == Resuming)
                await WriteAsync(world, stream!, good.AsMemory(0, random.Next(good.Length)), random);

            if (byHolder)
                await lab.ExpectAsync<DeviceDone>(new ResetDevice(guest.Session));
            else
                await lab.AskHostAsync<HostDone>(new ResetByOperator(lab.Function.Address, null, "conformance"));

            await AssertIsOverAsync(lab, guest, stream, $"a reset in {state}");
            await UseAsync(lab, guest, random);
            await LoadAsync(lab, guest, good, random);
            await UseAsync(lab, guest, random);
        }

        await AssertBlamelessAsync(lab);
    });

    [Fact]
    public Task A_reset_during_every_arc_leaves_RUNNING_no_stream_and_a_device_that_works() => TryAsync(1, async (world, random) =>
    {
        var good = await GoodStreamAsync(world, random);
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        foreach (var (from, to) in await ArcsAsync(lab, guest))
        {
            foreach (var step in StepsOf(await StepsAsync(lab, guest, from, to, good, random) + 1, random))
            {
                var standing = await StandAsync(lab, guest, from, good, random);
                ReplyRef? reset = null;
                AtStep(lab, step, () => reset = lab.Send(new ResetDevice(guest.Session)));
                var set = await lab.AskAsync(new SetMigrationState(guest.Session, to));
                lab.Function.Before = null;
                // An arc that takes fewer steps than it did: the reset comes right behind it.
                reset ??= lab.Send(new ResetDevice(guest.Session));
                var done = await lab.AnswerAsync(reset, "the reset");

                Assert.True(done is DeviceDone, $"A reset at step {step} of {from} to {to} was answered with {done}");
                await AssertIsOverAsync(lab, guest, standing, $"a reset at step {step} of {from} to {to}");
                await AssertIsOverAsync(lab, guest, (set as MigrationStateSet)?.Stream, $"a reset at step {step} of {from} to {to}");
            }

            await UseAsync(lab, guest, random);
        }

        await AssertBlamelessAsync(lab);
    });

    /// <summary>ER-10: a link reset, of which nobody tells.</summary>
    [Fact]
    public Task A_reset_behind_the_drivers_back_during_every_arc_is_left_by_a_reset() => TryAsync(1, async (world, random) =>
    {
        var good = await GoodStreamAsync(world, random);
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        Assert.NotEmpty(lab.Function.ResetMethods);
        foreach (var (from, to) in await ArcsAsync(lab, guest))
        {
            foreach (var step in StepsOf(await StepsAsync(lab, guest, from, to, good, random), random, some: 6))
            {
                var standing = await StandAsync(lab, guest, from, good, random);
                AtStep(lab, step, () => lab.Function.Inner.Reset(lab.Function.ResetMethods[0]));
                await lab.AskAsync(new SetMigrationState(guest.Session, to));
                lab.Function.Before = null;

                await lab.ExpectAsync<DeviceDone>(new ResetDevice(guest.Session));
                await AssertIsOverAsync(lab, guest, standing, $"a link reset at step {step} of {from} to {to}, and a reset after it");
            }

            await UseAsync(lab, guest, random);
        }

        await AssertBlamelessAsync(lab);
    });

    // ---- Failures --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task Hardware_that_fails_at_any_step_of_an_arc_is_contained() => TryAsync(1, async (world, random) =>
    {
        var good = await GoodStreamAsync(world, random);
        var counted = await StartAsync(world);
        var counting = await counted.OpenAsync();
        foreach (var (from, to) in await ArcsAsync(counted, counting))
        {
            foreach (var step in StepsOf(await StepsAsync(counted, counting, from, to, good, random), random, some: 3))
            {
                var lab = await StartAsync(world);
                var guest = await lab.OpenAsync();
                var standing = await StandAsync(lab, guest, from, good, random);
                AtStep(lab, step, () => throw new InvalidOperationException($"Conformance has the hardware fail at step {step} of {from} to {to}."));
                var sent = new SetMigrationState(guest.Session, to);
                var asker = lab.Send(sent);
                await lab.AnswerAsync(asker, sent);
                lab.Function.Before = null;

                await AssertOneAnswerAsync(lab, [($"{from} to {to}", asker)]);
                guest = await UseAsync(lab, guest, random);
                await AssertIsOverAsync(lab, guest, standing, $"hardware that failed at step {step} of {from} to {to}, and a reset after it");
            }
        }
    });

    /// <summary>A device that stood may run elsewhere by now: the driver that comes after its forerunner does not say that it runs.</summary>
    [Fact]
    public Task A_driver_that_is_made_anew_in_any_state_finds_its_device_and_a_reset_leaves_it_RUNNING() => TryAsync(1, async (world, random) =>
    {
        var good = await GoodStreamAsync(world, random);
        var some = await StartAsync(world);
        foreach (var state in await StatesAsync(some, await some.OpenAsync()))
        {
            var lab = await StartAsync(world);
            var guest = await lab.OpenAsync();
            await WorkAsync(guest, random);
            var stream = await EnterAsync(lab, guest, state);
            if (state == Resuming)
                await WriteAsync(world, stream!, good.AsMemory(0, random.Next(good.Length)), random);
            lab.Tap = _ =>
            {
                lab.Tap = null;
                throw new InvalidOperationException($"Conformance makes it fail in {state}.");
            };
            Assert.IsType<DeviceFailed>(await lab.AskAsync(new GetMigrationState(guest.Session)));

            var found = await lab.StateAsync(guest);

            Assert.True(
                found == Error || found == (state is Stop or StopCopy or Resuming ? Stop : Running),
                $"A driver that was made anew in {state} says that the device is in {found}.");
            AssertEnded(stream, $"a failure of the driver in {state}");
            guest = await UseAsync(lab, guest, random);
            await LoadAsync(lab, guest, good, random);
            await UseAsync(lab, guest, random);
        }
    });

    // ---- Ends ------------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task In_any_state_a_session_ends_with_its_stream_and_the_next_is_RUNNING(bool dies) => TryAsync(1, async (world, random) =>
    {
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        foreach (var state in await StatesAsync(lab, guest))
        {
            var stream = await EnterAsync(lab, guest, state);

            await EndAsync(lab, guest, dies);

            AssertEnded(stream, $"a session that ended in {state}");
            Assert.False(lab.Function.HasDma, $"After a session that ended in {state} DMA is connected still.");
            guest = await lab.OpenAsync();
            Assert.Equal(Running, await lab.StateAsync(guest));
            await UseAsync(lab, guest, random);
        }

        await AssertBlamelessAsync(lab);
    });

    private protected override async Task AssertRunningAsync(Lab lab, GuestDevice guest) => Assert.Equal(Running, await lab.StateAsync(guest));
}
