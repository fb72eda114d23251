using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Conformance;
using Fabric.Drivers.Mtty;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Migration.MigrationState;

namespace Fabric.Drivers.Tests.Conformance;

/// <summary>A serial card whose driver migrates it badly, in a way for each check of migrating drivers: it is found, and by that check.</summary>
public sealed class BadMigrationTests
{
    private static readonly VfioError Refused = new(Errno.EIO, "The bad driver does not.");

    // ---- Arcs and moves --------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task A_transition_that_is_missing_is_found() => IsFoundAsync(
        static own => own.Instead = static (from, to) => (from, to) is (Stop, RunningP2P) ? ArcResult.Fails(Refused) : null,
        static bad => bad.Every_transition_leads_where_the_kernels_table_says(), "Stop to ");

    [Fact]
    public Task State_that_does_not_arrive_is_found() => IsFoundAsync(
        static own => own.Instead = static (from, to) => (from, to) is (Resuming, Stop) ? ArcResult.Done : null,
        static bad => bad.State_arrives_whole_by_every_path_and_under_load(), "is not what its source had");

    [Fact]
    public Task State_that_the_guest_does_not_find_is_found() => IsFoundAsync(
        static own => own.Before = (from, to) =>
        {
            // The scratch register of a target that goes on.
            if ((from, to) is (Stop, RunningP2P) && own.HasLoaded)
                own.Spoil();
        },
        static bad => bad.State_arrives_whole_by_every_path_and_under_load(), "the guest sees another state");

    [Fact]
    public Task A_stream_that_does_not_end_is_found() => IsFoundAsync(
        static own => own.Data = static _ => new Endless(),
        static bad => bad.State_arrives_whole_by_every_path_and_under_load(), "does not end");

    // ---- Resets ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task A_reset_that_leaves_its_migration_where_it_was_is_found() => IsFoundAsync(
        static own => own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer)),
        static bad => bad.A_reset_in_every_state_leaves_RUNNING_no_stream_and_a_device_that_works(byHolder: true), "After a reset in ");

    [Fact]
    public Task A_reset_by_the_host_that_is_not_heard_is_found() => IsFoundAsync(
        static own => own.HearsResets = false,
        static bad => bad.A_reset_in_every_state_leaves_RUNNING_no_stream_and_a_device_that_works(byHolder: false), "After a reset in ");

    [Fact]
    public Task A_reset_during_an_arc_that_is_forgotten_is_found() => IsFoundAsync(
        static own =>
        {
            var isWithin = false;
            own.Before = (_, _) => isWithin = true;
            own.Take<ResetDevice>(_ => isWithin, _ =>
            {
                isWithin = false;
                own.Answer(DeviceDone.Instance);
            });
        },
        static bad => bad.A_reset_during_every_arc_leaves_RUNNING_no_stream_and_a_device_that_works(), "After a reset at step");

    [Fact]
    public Task A_device_that_no_reset_brings_back_is_found() => IsFoundAsync(
        static own => own.Take<ResetDevice>(_ => own.State == Error, _ => own.Answer(new DeviceFailed(Refused))),
        static bad => bad.A_reset_behind_the_drivers_back_during_every_arc_is_left_by_a_reset(), "The bad driver does not.");

    // ---- Failures --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task An_arc_that_waits_for_ever_where_hardware_fails_is_found() => IsFoundAsync(
        static own => own.WaitsForEver = true,
        static bad => bad.Hardware_that_fails_at_any_step_of_an_arc_is_contained(), "has no answer");

    [Fact]
    public Task A_driver_that_is_made_anew_and_does_not_look_is_found() => IsFoundAsync(
        static own => own.FindsOut = false,
        static bad => bad.A_driver_that_is_made_anew_in_any_state_finds_its_device_and_a_reset_leaves_it_RUNNING(),
        "says that the device is in Running");

    // ---- Streams ---------------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(BadStream.Truncated)]
    [InlineData(BadStream.Reordered)]
    [InlineData(BadStream.Duplicated)]
    [InlineData(BadStream.Oversized)]
    [InlineData(BadStream.OtherVersion)]
    [InlineData(BadStream.OtherDevice)]
    public Task A_driver_that_takes_any_stream_is_found(BadStream bad) => IsFoundAsync(
        static own =>
        {
            own.Data = static data => new Lenient(data);
            own.Instead = static (from, to) => (from, to) is (Resuming, Stop) ? ArcResult.Done : null;
        },
        tried => tried.A_stream_that_is_bad_is_refused_and_the_device_works_after_a_reset(bad), $"bad ({bad}");

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task A_stream_that_outlives_its_session_is_found(bool dies) => IsFoundAsync(
        static own => own.Take<SetMigrationState>(set => own.AnswerWith(set, static stream => new Immortal(stream))),
        tried => tried.In_any_state_a_session_ends_with_its_stream_and_the_next_is_RUNNING(dies), "its stream still answers");

    [Fact]
    public async Task A_driver_that_is_not_bad_is_not_found()
    {
        var good = new Tried(static _ => { });
        await good.State_arrives_whole_by_every_path_and_under_load();
        await good.A_driver_that_is_made_anew_in_any_state_finds_its_device_and_a_reset_leaves_it_RUNNING();
    }

    private static async Task IsFoundAsync(Action<BadMttyDriver> script, Func<MigratingDriverConformance, Task> check, string saying)
    {
        var found = await Assert.ThrowsAsync<NotConformantException>(() => check(new Tried(script)));
        Assert.Contains(saying, found.Message, StringComparison.Ordinal);
    }

    private sealed class Tried(Action<BadMttyDriver> script) : MigratingDriverConformance
    {
        protected override DriverRegistration Registration { get; } = new(
            "bad", new PciIds(MttyIds.Vendor, MttyIds.Device), null, context => Props.Create(() => new BadMttyDriver(context, script)));

        protected override TestedDevice Create(TimeProvider time) => MttyConformanceTests.Card(ports: 2);

        protected override Task WorkAsync(GuestDevice guest, Random random) => Uart.WorkAsync(guest, MttyBar.Port0, random);

        protected override Task<byte[]> ReadStateAsync(GuestDevice guest) => Uart.ReadStateAsync(guest, MttyBar.Port0);
    }

    /// <summary>More noise whenever it is read.</summary>
    private sealed class Endless : IMigrationData
    {
        public VfioResult<int> Read(Span<byte> destination) => destination.Length;

        public VfioResult Write(ReadOnlySpan<byte> source) => VfioResult.Ok;

        public VfioResult<PrecopyInfo> GetPrecopyInfo() => default(PrecopyInfo);
    }

    private sealed class Lenient(IMigrationData inner) : IMigrationData
    {
        public VfioResult<int> Read(Span<byte> destination) => inner.Read(destination);

        public VfioResult Write(ReadOnlySpan<byte> source) => VfioResult.Ok;

        public VfioResult<PrecopyInfo> GetPrecopyInfo() => inner.GetPrecopyInfo();
    }

    private sealed class Immortal(IMigrationStream inner) : IMigrationStream
    {
        public VfioResult<int> Read(Span<byte> destination) => 0;

        public VfioResult Write(ReadOnlySpan<byte> source) => inner.Write(source);

        public VfioResult<PrecopyInfo> GetPrecopyInfo() => inner.GetPrecopyInfo();

        public VfioResult<PrecopyInfo> Ioctl(uint request, uint argsz) => inner.Ioctl(request, argsz);

        public void Close() => inner.Close();
    }
}

/// <summary>A driver whose every arc takes time, otherwise good.</summary>
public sealed class SlowArcsConformanceTests : MigratingDriverConformance
{
    protected override DriverRegistration Registration { get; } = new(
        "slow", new PciIds(MttyIds.Vendor, MttyIds.Device), null, static context => Props.Create(() => new BadMttyDriver(context, Slow)));

    protected override TestedDevice Create(TimeProvider time) => MttyConformanceTests.Card(ports: 2);

    protected override Task WorkAsync(GuestDevice guest, Random random) => Uart.WorkAsync(guest, MttyBar.Port0, random);

    protected override Task<byte[]> ReadStateAsync(GuestDevice guest) => Uart.ReadStateAsync(guest, MttyBar.Port0);

    private static void Slow(BadMttyDriver driver) => driver.Looks = 3;
}

/// <summary>The serial card's driver, with its virtues to be taken away.</summary>
internal sealed class BadMttyDriver : MigratingDriver
{
    private Vfio.Core.RegionMapping? window;

    public BadMttyDriver(DriverContext context, Action<BadMttyDriver> script)
        : base(context, MttyBar.Migration)
    {
        HideRegion(MttyBar.Migration);
        script(this);
    }

    /// <summary>What happens in place of an arc; null where it is performed.</summary>
    public Func<MigrationState, MigrationState, ArcResult?> Instead { get; set; } = static (_, _) => null;

    public Action<MigrationState, MigrationState> Before { get; set; } = static (_, _) => { };

    public Func<IMigrationData, IMigrationData> Data { get; set; } = static data => data;

    /// <summary>It hears of the resets of the host.</summary>
    public bool HearsResets { get; set; } = true;

    /// <summary>It looks, when it is made, whether the card stands.</summary>
    public bool FindsOut { get; set; } = true;

    /// <summary>An arc whose hardware fails is on its way for ever.</summary>
    public bool WaitsForEver { get; set; }

    /// <summary>So many times an arc is on its way before it is performed.</summary>
    public int Looks { get; set; }

    public bool HasLoaded { get; private set; }

    public MigrationState? State => Migration?.State;

    public void Take<T>(Action<T> handle)
        where T : DeviceRequest => On(handle);

    public void Take<T>(Func<T, bool> when, Action<T> handle)
        where T : DeviceRequest => On(when, handle);

    public void Answer(DeviceReply reply) => Reply(reply);

    public void Ask(DeviceRequest request, Action<DeviceReply> then) => AskCore(request, then);

    public void AnswerWith(SetMigrationState set, Func<IMigrationStream, IMigrationStream> wrap) => WithDevice(
        set.Session,
        () => Reply(Migration!.Set(set.Target), reached => new MigrationStateSet(reached.State, reached.Stream is { } stream ? wrap(stream) : null)),
        Reply);

    /// <summary>Loads another scratch register into the first port.</summary>
    public void Spoil()
    {
        var state = new byte[MttyPortState.Bytes];
        window!.Read(MttyMigration.PortStates, state);
        state[MttyPortState.Scratch] ^= 1;
        window.Write(MttyMigration.PortStates, state);
        window.Write(MttyMigration.Command, new byte[] { (byte)MttyCommand.Load, 0, 0, 0 });
    }

    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        window = mapped[MttyBar.Migration];
        var status = window.Read32(MttyMigration.Status);
        return new MigratingDevice(new Arcs(this, new MttyMigrationOps(window, 2, MttyMigrationOps.Everything)))
        {
            IsLost = FindsOut && (!status.IsOk || (status.Value & (uint)MttyStatus.Suspended) != 0),
        };
    }

    protected override void OnFunctionReset(VfioResult outcome)
    {
        if (HearsResets)
            base.OnFunctionReset(outcome);
    }

    private sealed class Arcs(BadMttyDriver driver, MttyMigrationOps inner) : IMigrationOps
    {
        private int looks = driver.Looks;

        public MigrationFlags Flags => inner.Flags;

        public ArcResult Perform(MigrationState from, MigrationState to)
        {
            if (looks-- > 0)
                return ArcResult.OnItsWay(TimeSpan.FromMilliseconds(7));
            looks = driver.Looks;
            driver.Before(from, to);
            driver.HasLoaded |= from == Resuming;
            if (driver.Instead(from, to) is { } otherwise)
                return otherwise;
            try
            {
                var done = inner.Perform(from, to);
                return done.Opened is { } data ? ArcResult.Opens(driver.Data(data)) : done;
            }
            catch (InvalidOperationException) when (driver.WaitsForEver)
            {
                driver.Instead = static (_, _) => ArcResult.OnItsWay(TimeSpan.FromSeconds(1));
                return ArcResult.OnItsWay(TimeSpan.FromSeconds(1));
            }
        }

        public VfioResult<ulong> GetDataSize() => inner.GetDataSize();

        public void Forget()
        {
            looks = driver.Looks;
            inner.Forget();
        }

        public void LetGo() => inner.LetGo();
    }
}
