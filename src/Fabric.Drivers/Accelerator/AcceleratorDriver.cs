using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The accelerator's virtual function: owns migration (all flags) and dirty logging, hides the two BARs that are the host's, clears the
/// engine's error in mmio_enabled. Everything else falls through to the core.
/// </summary>
public sealed class AcceleratorDriver : VariantDriver
{
    private readonly HeldSession held;
    private Attached? device;

    /// <param name="held">Given again to the driver that comes after this one, when this one fails.</param>
    public AcceleratorDriver(DriverContext context, HeldSession held)
        : base(context)
    {
        this.held = held;
        On<OpenDevice>(Open);
        On<CloseDevice>(Close);
        On<ResetDevice>(Reset);
        On<GetRegionInfo>(info => IsHidden(info.Index), info => Reply(new RegionInfoRead(new RegionInfo(info.Index, RegionFlags.None, 0))));
        On<ReadRegion>(read => IsHidden(read.Region), _ => Reply(Hidden));
        On<WriteRegion>(write => IsHidden(write.Region), _ => Reply(Hidden));
        On<MapRegion>(map => IsHidden(map.Region), _ => Reply(Hidden));
        On<GetMigrationFlags>(get => WithDevice(get.Session, attached => Reply(new MigrationFlagsRead(attached.Migration.Flags))));
        On<GetMigrationState>(get => WithDevice(get.Session, attached => Reply(new MigrationStateRead(attached.Migration.State))));
        On<SetMigrationState>(set => WithDevice(set.Session, attached => SetState(attached.Migration, set.Target)));
        On<GetMigrationDataSize>(get => WithDevice(get.Session, attached => Answer(attached.Migration.GetDataSize(), size => new MigrationDataSizeRead(size))));
        On<StartDmaLogging>(start => WithDevice(start.Session, attached => StartLogging(attached.Log, start)));
        On<StopDmaLogging>(stop => WithDevice(stop.Session, attached => Reply(attached.Log.Stop())));
        On<ReportDmaLogging>(report => WithDevice(report.Session, attached => Answer(attached.Log.Report(), dirty => new DmaLoggingReported(dirty))));
        On<MmioEnabled>(_ => ClearError());
    }

    public static DriverRegistration Registration { get; } = new(
        "accelerator",
        new PciIds(AcceleratorIds.Vendor, AcceleratorIds.VirtualFunction),
        "accelerator-vf",
        context => PropsOf(context, new HeldSession()));

    // Evaluated once: a restarted driver is given what its forerunner had.
    private static Props PropsOf(DriverContext context, HeldSession held) => Props.Create(() => new AcceleratorDriver(context, held));

    /// <summary>The session that the device is open for, as far as the driver knows. It outlives a restart of the driver, as the session does.</summary>
    public sealed class HeldSession
    {
        /// <summary>The default where there is none.</summary>
        public SessionId Id { get; set; }
    }

    /// <summary>The device of one session, and what is known of it.</summary>
    private sealed record Attached(AcceleratorCommands Commands, MigrationMachine Migration, DirtyLog Log);

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
    /// Runs what needs the device, after mapping it if need be: after a restart the driver has lost its mappings, and the core has not lost
    /// the session. A session that is not open is refused by the core there.
    /// </summary>
    private void WithDevice(SessionId session, Action<Attached> then) =>
        WithDevice(session, then, Reply);

    private void WithDevice(SessionId session, Action<Attached> then, Action<DeviceFailed> failed)
    {
        if (device is not null && session == held.Id)
            then(device);
        else
            Attach(session, then, failed);
    }

    private void Attach(SessionId session, Action<Attached> then, Action<DeviceFailed> failed)
    {
        Map(AcceleratorBar.Registers, registers =>
            Map(AcceleratorBar.State, memory =>
                Map(AcceleratorBar.Migration, migration => Adopt(AcceleratorCommands.Attach(registers, memory, migration)))));

        void Map(int bar, Action<RegionMapping> mapped) => AskCore(new MapRegion(session, bar), reply =>
        {
            if (reply is RegionMapped mapping)
                mapped(mapping.Mapping);
            else
                failed((DeviceFailed)reply);
        });

        void Adopt(VfioResult<AcceleratorCommands> attached)
        {
            if (!attached.IsOk)
            {
                failed(new DeviceFailed(attached.Error));
                return;
            }

            var commands = attached.Value;
            device = new Attached(commands, MigrationMachine.Register(new AcceleratorArcs(commands)).Value, new DirtyLog(new AcceleratorDmaLog(commands)));
            held.Id = session;
            AdoptActivity(device);
            then(device);
        }
    }

    /// <summary>
    /// A device found in the middle of a migration has lost its stream with the driver: ERROR, until a reset (MG-31). A log that nobody knows of is
    /// stopped.
    /// </summary>
    private static void AdoptActivity(Attached found)
    {
        var activity = found.Commands.ReadActivity();
        if (!activity.IsOk || (activity.Value & ~AcceleratorActivity.DmaLogOn) != AcceleratorActivity.None)
            found.Migration.Fail();
        else if (activity.Value != AcceleratorActivity.None)
            found.Commands.Execute(AcceleratorCommand.StopDmaLog);
        Record(new MigrationStateChanged(found.Migration.State));
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
        device?.Migration.Close();
        base.PostStop();
    }

    private void Forget()
    {
        device?.Migration.Close();
        (device, held.Id) = (null, default);
    }

    // ---- What the user may not see ---------------------------------------------------------------------------------------------------

    private static bool IsHidden(int region) => region is >= AcceleratorBar.State and <= AcceleratorBar.Migration + 1;

    private static VfioResult Hidden =>
        VfioResult.Fail(Errno.EINVAL, "This BAR is the host driver's; GET_REGION_INFO shows it empty.");

    // ---- Migration and dirty logging (contract §6) -----------------------------------------------------------------------------------

    private void SetState(MigrationMachine migration, MigrationState target)
    {
        var before = migration.State;
        var set = migration.Set(target);
        if (migration.State != before)
            Record(new MigrationStateChanged(migration.State));
        Answer(set, reached => new MigrationStateSet(reached.State, reached.Stream));
    }

    private void StartLogging(DirtyLog log, StartDmaLogging start) =>
        Reply(log.Start(AcceleratorMigration.LogPageSize, [new LoggingRange(start.Iova, start.Length)]).Error);

    private void Answer<T>(VfioResult<T> result, Func<T, DeviceReply> reply) =>
        Reply(result.IsOk ? reply(result.Value) : new DeviceFailed(result.Error));

    // ---- Errors ----------------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// mmio_enabled. No vote where nobody has the device open, or has it no more: its next open resets it. A device that does not answer is
    /// given up.
    /// </summary>
    private void ClearError()
    {
        if (held.Id == default)
            Vote(VfioResult.Fail(Errno.ENODEV, "The device is not open."));
        else
            WithDevice(held.Id, attached => Vote(attached.Commands.ClearInternalError()), failed => Vote(failed.Error));

        void Vote(VfioResult cleared) => Reply(new RecoveryVoted(cleared.Error.Errno switch
        {
            Errno.None => RecoveryVote.Recovered,
            Errno.ENODEV => RecoveryVote.None,
            _ => RecoveryVote.Disconnect,
        }));
    }
}
