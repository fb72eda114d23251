using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Mtty;

/// <summary>
/// The serial card: owns migration and a dummy DMA log, hides the BAR that is the host's, and every interrupt but INTx and MSI (contract
/// §8.4). Everything else falls through to the core.
/// </summary>
public sealed class MttyDriver : VariantDriver
{
    private readonly MigrationFlags flags;
    private readonly HeldSession held;
    private Attached? device;

    /// <param name="held">Given again to the driver that comes after this one, when this one fails.</param>
    public MttyDriver(DriverContext context, MigrationFlags flags, HeldSession held)
        : base(context)
    {
        (this.flags, this.held) = (flags, held);
        On<OpenDevice>(Open);
        On<CloseDevice>(Close);
        On<ResetDevice>(Reset);
        On<GetRegionInfo>(info => IsHidden(info.Index), info => Reply(new RegionInfoRead(new RegionInfo(info.Index, RegionFlags.None, 0))));
        On<ReadRegion>(read => IsHidden(read.Region), _ => Reply(Hidden));
        On<WriteRegion>(write => IsHidden(write.Region), _ => Reply(Hidden));
        On<MapRegion>(map => IsHidden(map.Region), _ => Reply(Hidden));
        On<GetIrqInfo>(info => !HasInterrupt((IrqIndex)info.Index), _ => Reply(NoInterrupt(Errno.EINVAL)));
        On<SetTrigger>(set => !HasInterrupt(set.Index), _ => Reply(NoInterrupt(Errno.ENOTTY)));
        On<GetMigrationFlags>(get => WithDevice(get.Session, attached => Reply(new MigrationFlagsRead(attached.Migration.Flags))));
        On<GetMigrationState>(get => WithDevice(get.Session, attached => Reply(new MigrationStateRead(attached.Migration.State))));
        On<SetMigrationState>(set => WithDevice(set.Session, attached => SetState(attached.Migration, set.Target)));
        On<GetMigrationDataSize>(get => WithDevice(
            get.Session, attached => Answer(attached.Migration.GetDataSize(), size => new MigrationDataSizeRead(size))));
        On<StartDmaLogging>(start => WithDevice(start.Session, attached => StartLogging(attached.Log, start)));
        On<StopDmaLogging>(stop => WithDevice(stop.Session, attached => Reply(attached.Log.Stop())));
        On<ReportDmaLogging>(report => WithDevice(
            report.Session, attached => Answer(attached.Log.Report(), dirty => new DmaLoggingReported(dirty))));
    }

    public static DriverRegistration Registration { get; } = RegistrationWith(MttyArcs.Everything);

    /// <summary>The driver with fewer migration states than the card could have, as other kernel drivers are (MG-5).</summary>
    internal static DriverRegistration RegistrationWith(MigrationFlags flags) => new(
        "mtty",
        new PciIds(MttyIds.Vendor, MttyIds.Device),
        "mtty",
        context => PropsOf(context, flags, new HeldSession()));

    // Evaluated once: a restarted driver is given what its forerunner had.
    private static Props PropsOf(DriverContext context, MigrationFlags flags, HeldSession held) =>
        Props.Create(() => new MttyDriver(context, flags, held));

    /// <summary>The session that the device is open for, as far as the driver knows. It outlives the driver's restart, as the session does.</summary>
    public sealed class HeldSession
    {
        /// <summary>The default where there is none.</summary>
        public SessionId Id { get; set; }
    }

    /// <summary>The device of one session, and what is known of it.</summary>
    private sealed record Attached(MttyArcs Arcs, MigrationMachine Migration, DirtyLog Log);

    // ---- Opening: the core first, then what is the driver's own (LC-25) --------------------------------------------------------------

    private void Open(OpenDevice open) => AskCore(open, reply =>
    {
        if (reply is not DeviceOpened opened)
        {
            Reply(reply);
            return;
        }

        Forget();
        Attach(
            opened.Session,
            _ => Reply(opened),
            failed => AskCore(new CloseDevice(opened.Session), _ => Reply(failed)));
    });

    private void Close(CloseDevice close)
    {
        if (close.Session == held.Id)
            Forget();
        AskCore(close, Reply);
    }

    /// <summary>A reset leaves RUNNING and no stream (MG-34); while it is tried, streams do not reach the device.</summary>
    private void Reset(ResetDevice reset)
    {
        var migration = reset.Session == held.Id ? device?.Migration : null;
        migration?.BeginReset();
        AskCore(reset, reply =>
        {
            migration?.EndReset(done: reply is DeviceDone);
            if (migration is not null)
                Record(new MigrationStateChanged(migration.State));
            Reply(reply);
        });
    }

    /// <summary>
    /// Runs what needs the device, after mapping it if need be: after a restart the driver has lost its mapping, and the core has not lost the
    /// session. A session that is not open is refused by the core there.
    /// </summary>
    private void WithDevice(SessionId session, Action<Attached> then)
    {
        if (device is not null && session == held.Id)
            then(device);
        else
            Attach(session, then, Reply);
    }

    private void Attach(SessionId session, Action<Attached> then, Action<DeviceFailed> failed) =>
        AskCore(new MapRegion(session, MttyBar.Migration), reply =>
        {
            if (reply is not RegionMapped mapped)
            {
                failed((DeviceFailed)reply);
                return;
            }

            var attached = MttyCommands.Attach(new MappedWindow(mapped.Mapping));
            if (!attached.IsOk)
            {
                failed(new DeviceFailed(attached.Error));
                return;
            }

            Adopt(session, attached.Value);
            then(device!);
        });

    /// <summary>A card found suspended has lost its stream with the driver that suspended it: ERROR, until a reset (MG-31).</summary>
    private void Adopt(SessionId session, MttyCommands commands)
    {
        var arcs = new MttyArcs(commands, flags);
        device = new Attached(arcs, MigrationMachine.Register(arcs).Value, new DirtyLog(new MttyDmaLog()));
        held.Id = session;
        if (commands.IsSuspended() is not { IsOk: true, Value: false })
            device.Migration.Fail();
        Record(new MigrationStateChanged(device.Migration.State));
    }

    /// <summary>Whatever was under way is over: RUNNING, and no stream (MG-34).</summary>
    protected override void OnFunctionReset(VfioResult outcome)
    {
        if (!outcome.IsOk || device is null)
            return;
        device.Migration.Reset();
        Record(new MigrationStateChanged(device.Migration.State));
    }

    protected override void OnSessionClosed(SessionId session)
    {
        if (session == held.Id)
            Forget();
    }

    /// <summary>The streams of a driver that failed reach nothing any more: the one that comes after it does not know them.</summary>
    protected override void PostStop()
    {
        LetGo();
        base.PostStop();
    }

    private void Forget()
    {
        LetGo();
        (device, held.Id) = (null, default);
    }

    /// <summary>Streams end; the card stays as it is, and is reset by the core at the close.</summary>
    private void LetGo()
    {
        device?.Arcs.Release();
        device?.Migration.Close();
    }

    // ---- What the user may not see ---------------------------------------------------------------------------------------------------

    private static bool IsHidden(int region) => region == MttyBar.Migration;

    private static bool HasInterrupt(IrqIndex index) => index is IrqIndex.Intx or IrqIndex.Msi;

    private static VfioResult Hidden =>
        VfioResult.Fail(Errno.EINVAL, "This BAR is the host driver's; GET_REGION_INFO shows it empty.");

    private static VfioResult NoInterrupt(Errno errno) =>
        VfioResult.Fail(errno, "The serial card has INTx and one MSI vector, and no other interrupt.");

    // ---- Migration and dirty logging (contract §6) -----------------------------------------------------------------------------------

    private void SetState(MigrationMachine migration, MigrationState target)
    {
        var before = migration.State;
        var set = migration.Set(target);
        if (migration.State != before)
            Record(new MigrationStateChanged(migration.State));
        Answer(set, reached => new MigrationStateSet(reached.State, reached.Stream));
    }

    private void StartLogging(DirtyLog log, StartDmaLogging start)
    {
        var started = log.Start(DirtyLog.MinReportPage, [new LoggingRange(start.Iova, start.Length)]);
        Reply(started.IsOk ? VfioResult.Ok : started.Error);
    }

    private void Answer<T>(VfioResult<T> result, Func<T, DeviceReply> reply) =>
        Reply(result.IsOk ? reply(result.Value) : new DeviceFailed(result.Error));
}
