using System.Globalization;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Conformance.Harness;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;
using Xunit;

namespace Fabric.Drivers.Conformance;

/// <summary>
/// What every variant driver keeps to, tried on a real host in virtual time. A test class derives from it, or from
/// <see cref="MigratingDriverConformance"/>, and says how a device is made; the tests are inherited.
/// </summary>
public abstract class DriverConformance
{
    private const string SeedVariable = "FABRIC_CONFORMANCE_SEED";

    private static readonly SessionId Stale = new(1);

    // ---- What an author says ---------------------------------------------------------------------------------------------------------

    protected abstract DriverRegistration Registration { get; }

    /// <summary>Makes a device, always the same: two of them are twins, source and target of a migration.</summary>
    /// <param name="time">Virtual; all of the device's own time is taken from it.</param>
    protected abstract TestedDevice Create(TimeProvider time);

    /// <summary>The guest uses the device, and fails where it does not work. May be called again and again, from whatever a reset leaves.</summary>
    /// <param name="random">Seeded: the same work for the same seed.</param>
    protected virtual Task WorkAsync(GuestDevice guest, Random random) => Task.CompletedTask;

    /// <summary>All that the guest can see of the device's state.</summary>
    protected virtual Task<byte[]> ReadStateAsync(GuestDevice guest) => Task.FromResult<byte[]>([]);

    /// <summary>Bytes of memory that are mapped for the device's DMA at <see cref="GuestDevice.MemoryIova"/>: a multiple of 4096.</summary>
    protected virtual int GuestMemoryBytes => 0;

    /// <summary>The driver claims to take nothing over at all.</summary>
    protected virtual bool TakesNothingOver => false;

    // ---- Transparency and order ------------------------------------------------------------------------------------------------------

    [Fact]
    public Task What_it_does_not_take_over_is_answered_as_by_the_core_alone() => TryAsync(8, async (world, random) =>
    {
        var (tried, alone) = (await StartAsync(world), await StartAsync(world, withDriver: false));
        var (session, sessionAlone) = ((await tried.OpenAsync()).Session, (await alone.OpenAsync()).Session);
        var (isOpen, wereAlike) = (true, ConfigOf(alone).AsSpan().SequenceEqual(ConfigOf(tried)));
        for (var times = 0; times < 120; times++)
        {
            // Not what only a driver can do, and leaves a device that no core alone has.
            var kind = isOpen
                ? AnyKind(random, static name => name is not nameof(SetMigrationState))
                : Protocol.Kinds.Single(static kind => kind.Name == nameof(OpenDevice));
            var seed = random.Next();
            var request = kind.Make(session, tried.Host, new Random(seed));
            var asker = tried.Send(request);
            var reply = await tried.AnswerAsync(asker, request);
            var replyAlone = await alone.AskAsync(kind.Make(sessionAlone, alone.Host, new Random(seed)));
            (session, sessionAlone) = ((reply as DeviceOpened)?.Session ?? session, (replyAlone as DeviceOpened)?.Session ?? sessionAlone);
            isOpen = request is not CloseDevice || reply is not DeviceDone;
            var passed = tried.Behind.Seen.Any(seen => ReferenceEquals(seen.Request, request) && seen.By.Equals(asker));
            tried.Behind.Seen.Clear();
            var (text, textAlone) = (Text(reply), Text(replyAlone));
            var areAlike = ConfigOf(alone).AsSpan().SequenceEqual(ConfigOf(tried));
            Assert.True(passed || !TakesNothingOver, $"{request} was taken over by a driver that takes nothing over");
            Assert.True(!passed || text == textAlone, $"{request}: with the driver {text}, without {textAlone}");
            Assert.True(!passed || areAlike || !wereAlike, $"{request} was not taken over, and config space is not as without the driver after it");
            wereAlike = areAlike;
            // From here on the devices may well be in different states: by the driver's right.
            if (!passed && text != textAlone && !kind.IsLook)
                return;
        }
    });

    /// <summary>Of two requests of a session the second is never answered first, but where only the first goes through the core.</summary>
    [Fact]
    public Task What_it_gives_on_and_what_it_answers_keep_their_order() => TryAsync(8, async (world, random) =>
    {
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        lab.Behind.Seen.Clear();
        var sent = new List<(DeviceRequest Request, ReplyRef Asker)>();
        for (var times = 0; times < 60; times++)
        {
            var request = AnyKind(random, static name => name is not (nameof(OpenDevice) or nameof(CloseDevice) or nameof(SetVirtualFunctions)))
                .Make(guest.Session, guest.Consumer, random);
            sent.Add((request, lab.Send(request)));
        }

        foreach (var (request, asker) in sent)
            await lab.AnswerAsync(asker, request);
        var given = lab.Behind.Seen.Where(seen => sent.Exists(one => one.Asker.Equals(seen.By))).Select(static seen => seen.By).ToList();
        Assert.True(
            sent.Select(static one => one.Asker).Where(given.Contains).SequenceEqual(given),
            "Requests reached the core in another order than they came.");
        for (var first = 0; first < sent.Count; first++)
        {
            for (var second = first + 1; second < sent.Count; second++)
            {
                if (given.Contains(sent[first].Asker) && !given.Contains(sent[second].Asker))
                    continue;
                Assert.True(
                    sent[first].Asker.Order < sent[second].Asker.Order,
                    $"{sent[second].Request} was answered before {sent[first].Request}, which had come before it");
            }
        }
    });

    // ---- One answer ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task Every_request_has_one_answer_of_its_kind() => TryAsync(2, async (world, random) =>
    {
        Assert.Empty(Protocol.Missing);
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        var askers = new List<(string Request, ReplyRef Asker)>();
        var kinds = Protocol.Kinds.ToArray();
        random.Shuffle(kinds);
        foreach (var kind in kinds)
        {
            foreach (var session in new[] { guest.Session, Stale, default })
            {
                var request = kind.Make(session, guest.Consumer, random);
                var asker = lab.Send(request);
                askers.Add((request.ToString(), asker));
                var reply = await lab.AnswerAsync(asker, request);
                Assert.True(reply is DeviceFailed || reply.GetType() == kind.Reply, $"{request} was answered with {reply}");
                if (session != guest.Session && kind.IsOfSession && reply is not (DeviceFailed or RegionInfoRead or IrqInfoRead or FeatureFound))
                    Assert.Fail($"{request} of a session that there is not was answered with {reply}");
                if (reply is DeviceDone && request is CloseDevice)
                    guest = await lab.OpenAsync();
            }
        }

        await AssertOneAnswerAsync(lab, askers);
        await AssertBlamelessAsync(lab);
        await UseAsync(lab, guest, random);
    });

    // ---- Failures --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task A_failure_of_the_driver_at_any_request_is_contained() => TryAsync(1, async (world, random) =>
    {
        foreach (var kind in Protocol.Kinds)
        {
            var lab = await StartAsync(world);
            var guest = await lab.OpenAsync();
            await WorkAsync(guest, random);
            if (kind.Name == nameof(OpenDevice))
                await lab.ExpectAsync<DeviceDone>(new CloseDevice(guest.Session));
            lab.Tap = request =>
            {
                if (request.GetType().Name != kind.Name)
                    return;
                lab.Tap = null;
                throw new InvalidOperationException($"Conformance makes it fail at {kind.Name}.");
            };

            var sent = kind.Make(guest.Session, guest.Consumer, random);
            var asker = lab.Send(sent);
            var reply = await lab.AnswerAsync(asker, sent);

            Assert.True(reply is DeviceFailed { Error.Errno: Errno.EIO }, $"{sent}, at which the driver failed, was answered with {reply}");
            Assert.True(
                (await lab.HistoryAsync()).Any(entry => entry.Message.Contains(kind.Name, StringComparison.Ordinal)),
                $"The history does not say that the driver failed at {kind.Name}.");
            await UseAsync(lab, guest, random);
            await AssertOneAnswerAsync(lab, [(sent.ToString(), asker)]);
        }
    });

    [Fact]
    public Task What_stands_behind_it_may_refuse_anything() => TryAsync(1, async (world, random) =>
    {
        foreach (var refused in Protocol.Kinds)
        {
            var lab = await StartAsync(world);
            var guest = refused.Name == nameof(OpenDevice) ? null : await lab.OpenAsync();
            lab.Behind.Refuse = request => request.GetType().Name == refused.Name
                ? new DeviceFailed(Errno.EIO, $"Conformance has the core refuse {refused.Name}.")
                : null;
            var (askers, opened) = (new List<(string Request, ReplyRef Asker)>(), new List<SessionId>());
            var kinds = Protocol.Kinds.ToArray();
            random.Shuffle(kinds);
            foreach (var kind in kinds)
            {
                var request = kind.Make(guest?.Session ?? Stale, guest?.Consumer ?? lab.Host, random);
                var asker = lab.Send(request);
                askers.Add((request.ToString(), asker));
                if (await lab.AnswerAsync(asker, request) is DeviceOpened other)
                    opened.Add(other.Session);
            }

            lab.Behind.Refuse = null;
            foreach (var other in opened)
                await lab.AskAsync(new CloseDevice(other));
            await AssertOneAnswerAsync(lab, askers);
            await AssertBlamelessAsync(lab, $"behind it {refused.Name} was refused");
            await UseAsync(lab, guest, random);
        }
    });

    [Fact]
    public Task Hardware_that_fails_at_any_step_of_an_open_is_contained() => TryAsync(1, async (world, random) =>
    {
        var counted = await StartAsync(world);
        var accesses = 0;
        counted.Function.Before = () => accesses++;
        await counted.OpenAsync();
        foreach (var step in StepsOf(accesses, random))
        {
            var lab = await StartAsync(world);
            var left = step;
            lab.Function.Before = () =>
            {
                if (left-- == 0)
                    throw new InvalidOperationException($"Conformance has the hardware fail at access {step} of the open.");
            };
            var open = new OpenDevice("the guest", lab.Host);
            var asker = lab.Send(open);
            var reply = await lab.AnswerAsync(asker, open);
            lab.Function.Before = null;

            if (reply is DeviceOpened opened)
                await lab.ExpectAsync<DeviceDone>(new CloseDevice(opened.Session));
            await UseAsync(lab, null, random);
            await AssertOneAnswerAsync(lab, [($"the open whose access {step} failed", asker)]);
        }
    });

    // ---- Ends ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task What_a_session_had_ends_with_it() => TryAsync(1, async (world, random) =>
    {
        foreach (var dies in new[] { false, true, false })
        {
            var lab = await StartAsync(world);
            var guest = await lab.OpenAsync();
            await WorkAsync(guest, random);
            var mappings = new List<RegionMapping>();
            for (var bar = 0; bar < RegionIndex.Rom; bar++)
            {
                if (await lab.AskAsync(new MapRegion(guest.Session, bar)) is RegionMapped mapped)
                    mappings.Add(mapped.Mapping);
            }

            await EndAsync(lab, guest, dies);

            Assert.All(mappings, static mapping => Assert.Equal(Errno.ENODEV, mapping.Read(0, new byte[1]).Error.Errno));
            Assert.False(lab.Function.HasDma, "DMA is connected still.");
            var state = await lab.InspectAsync();
            Assert.Empty(state["core"]!["sessions"]!.Children);
            Assert.All(
                state.Children.Where(static part => part.Name == "driver"), static driver => Assert.Equal("nothing", driver["waits for"]!.Value));
            Assert.Null((await lab.StatusAsync()).Holder);
            Assert.IsType<DeviceFailed>(await lab.AskAsync(new ReadRegion(guest.Session, RegionIndex.Config, 0, 4)));
            await UseAsync(lab, null, random);
            await AssertBlamelessAsync(lab);
        }
    });

    [Fact]
    public Task A_driver_that_migrates_is_tried_as_one() => TryAsync(1, async (world, _) =>
    {
        var lab = await StartAsync(world);
        var guest = await lab.OpenAsync();
        var flags = await lab.AskAsync(new GetMigrationFlags(guest.Session));
        Assert.True(
            this is MigratingDriverConformance || flags is DeviceFailed { Error.Errno: Errno.ENOTTY },
            "The driver migrates: derive from MigratingDriverConformance.");
    });

    // ---- For those that derive in this room ------------------------------------------------------------------------------------------

    private protected async Task<Lab> StartAsync(World world, bool withDriver = true, TestedDevice? device = null) =>
        await Lab.StartAsync(world, device ?? Create(world.Time), withDriver ? Registration : null, GuestMemoryBytes);

    /// <summary>Each time with other numbers, and in a world of its own.</summary>
    private protected static async Task TryAsync(int times, Func<World, Random, Task> check)
    {
        var fixedSeed = Environment.GetEnvironmentVariable(SeedVariable) is { Length: > 0 } text
            ? int.Parse(text, CultureInfo.InvariantCulture)
            : (int?)null;
        for (var time = 0; time < (fixedSeed is null ? times : 1); time++)
        {
            var seed = fixedSeed ?? Random.Shared.Next();
            var world = new World();
            await using (world.ConfigureAwait(false))
            {
                try
                {
                    await check(world, new Random(seed)).ConfigureAwait(false);
                }
                catch (Exception cause)
                {
                    throw new NotConformantException($"{cause.Message} (run it again with {SeedVariable}={seed})", cause);
                }
            }
        }
    }

    /// <summary>
    /// The device is in service, or is put back from where it is out of it for a reason; whoever has it open resets it, and then it works.
    /// </summary>
    private protected async Task<GuestDevice> UseAsync(Lab lab, GuestDevice? guest, Random random)
    {
        var status = await lab.StatusAsync();
        if (status.State == DeviceState.Quarantined)
        {
            Assert.False(
                string.IsNullOrEmpty(status.Reason) || string.IsNullOrEmpty(status.WayBack),
                $"Out of service without a reason or a way back: {status}");
            await lab.AskHostAsync<HostDone>(new UnquarantineDevice(lab.Function.Address, "conformance"));
            status = await lab.StatusAsync();
        }

        Assert.True(status.Health == DeviceHealth.Healthy, $"The device is not healthy: {status}");
        if (guest is null || await lab.AskAsync(new GetDeviceInfo(guest.Session)) is DeviceFailed)
            guest = await lab.OpenAsync();
        await lab.AskAsync(new ExitLowPower(guest.Session));
        if (lab.Function.ResetMethods.Count > 0)
            await lab.ExpectAsync<DeviceDone>(new ResetDevice(guest.Session));
        await guest.EnableAsync();
        await AssertRunningAsync(lab, guest);
        await WorkAsync(guest, random);
        await ReadStateAsync(guest);
        return guest;
    }

    private protected virtual Task AssertRunningAsync(Lab lab, GuestDevice guest) => Task.CompletedTask;

    private protected static async Task EndAsync(Lab lab, GuestDevice guest, bool dies)
    {
        if (!dies)
        {
            await lab.ExpectAsync<DeviceDone>(new CloseDevice(guest.Session));
            return;
        }

        lab.World.System.Stop(guest.Consumer);
        for (var looks = 0; looks < 1000 && (await lab.StatusAsync()).Holder is not null; looks++)
            await lab.InspectAsync();
    }

    /// <summary>So many steps, or some of them.</summary>
    private protected static IEnumerable<int> StepsOf(int accesses, Random random, int some = 12)
    {
        var steps = Enumerable.Range(0, accesses).ToArray();
        random.Shuffle(steps);
        return steps.Take(some);
    }

    /// <summary>Nothing that is there by now, or comes of what is under way, is a second one.</summary>
    private protected static async Task AssertOneAnswerAsync(Lab lab, IEnumerable<(string Request, ReplyRef Asker)> askers)
    {
        await lab.InspectAsync();
        await lab.InspectAsync();
        foreach (var (request, asker) in askers)
        {
            var answers = string.Join("; ", asker.Answers.Select(static answer => answer.Message));
            Assert.True(asker.Answers.Count == 1, $"{request} has {asker.Answers.Count} answers: {answers}");
        }
    }

    /// <summary>The driver did not fail, and did not break a rule of the kit.</summary>
    private protected static async Task AssertBlamelessAsync(Lab lab, string when = "nothing was wrong with its device")
    {
        foreach (var entry in await lab.HistoryAsync())
        {
            Assert.False(
                entry.Kind is "driver-restarted" or "driver-fault" or "hung" or "core-failed", $"While {when}: {entry.Kind}, {entry.Message}");
        }
    }

    /// <summary>Every other time what guests do most.</summary>
    private static RequestKind AnyKind(Random random, Func<string, bool> condition)
    {
        var onlyFrequent = random.Next(2) == 0;
        var kinds = Protocol.Kinds.Where(kind => condition(kind.Name) && (kind.IsFrequent || !onlyFrequent)).ToArray();
        return kinds[random.Next(kinds.Length)];
    }

    private static byte[] ConfigOf(Lab lab)
    {
        var config = new byte[lab.Function.ConfigSize];
        lab.Function.ReadConfig(0, config);
        return config;
    }

    /// <summary>What its receiver can tell from another one.</summary>
    private static string Text(object reply) => reply switch
    {
        RegionRead read => $"{nameof(RegionRead)} {Convert.ToHexString(read.Data.Span)}",
        RegionMapped mapped => $"{nameof(RegionMapped)} {mapped.Mapping.Length}",
        RegionInfoRead read => $"{read.Info with { Caps = [] }} {string.Join(' ', read.Info.Caps.IsDefault ? [] : read.Info.Caps)}",
        DeviceInfoRead read => $"{read.Info with { Caps = [] }} {string.Join(' ', read.Info.Caps.IsDefault ? [] : read.Info.Caps)}",
        DmaBufGot => nameof(DmaBufGot),
        _ => reply.ToString() ?? "",
    };
}
