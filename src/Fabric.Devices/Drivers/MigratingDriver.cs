using System.Collections.Immutable;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Migration;

namespace Fabric.Devices.Drivers;

/// <summary>What a driver has of a device while it is open.</summary>
/// <param name="Ops">Null where this device does not migrate: migration is what the core says then, ENOTTY.</param>
/// <param name="Log">Null where it does not log DMA.</param>
public sealed record MigratingDevice(IMigrationOps? Ops, IDirtyLogOps? Log = null)
{
    /// <summary>It was found in the middle of a migration whose stream was lost with its driver: ERROR, until a reset (MG-31).</summary>
    public bool IsLost { get; init; }
}

/// <summary>BARs that a driver has mapped for itself, by index.</summary>
public sealed class MappedBars(IReadOnlyDictionary<int, RegionMapping> bars)
{
    public RegionMapping this[int bar] => bars[bar];
}

/// <summary>
/// A driver that owns migration, DMA logging, or both (kernel: mig_ops, log_ops). What is common to all of them is here: the core is opened first,
/// then what is the driver's own (LC-25, VD-1); a reset leaves RUNNING and no stream (MG-34); a driver that failed finds its device again; arcs that
/// take time are waited for. What is the device's is in what <see cref="Attach"/> gives.
/// </summary>
public abstract class MigratingDriver : VariantDriver
{
    private readonly HeldSessions held;
    private readonly ImmutableArray<int> bars;
    private Attached? device;

    /// <param name="bars">BARs that the driver maps for itself at each open, before <see cref="Attach"/>.</param>
    protected MigratingDriver(DriverContext context, params ImmutableArray<int> bars)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(context);
        (held, this.bars) = (context.Held, bars);
        On<OpenDevice>(Open);
        On<CloseDevice>(Close);
        On<ResetDevice>(Reset);
        On<GetMigrationFlags>(get => WithMigration(get, migration => Reply(new MigrationFlagsRead(migration.Flags))));
        On<GetMigrationState>(get => WithMigration(get, migration => Reply(new MigrationStateRead(migration.State))));
        On<SetMigrationState>(set => WithMigration(set, migration => Advance(migration, migration.State, migration.Set(set.Target))));
        On<GetMigrationDataSize>(get => WithMigration(get, migration => Reply(migration.GetDataSize(), static size => new MigrationDataSizeRead(size))));
        On<OptIntoPrecopyInfoV2>(opt => WithMigration(opt, migration => Reply(migration.OptIntoPrecopyInfoV2())));
        On<StartDmaLogging>(start => WithLog(start, log => StartLogging(log, start)));
        On<StopDmaLogging>(stop => WithLog(stop, log => Reply(log.Stop())));
        On<ReportDmaLogging>(report => WithLog(report, log => Reply(log.Report(), static dirty => new DmaLoggingReported(dirty))));
    }

    /// <summary>The open device.</summary>
    private sealed record Attached(MigratingDevice Own, MigrationMachine? Migration, DirtyLog? Log);

    /// <summary>The session that the device is open for, the first of several; the default where it is not.</summary>
    protected SessionId HeldBy => held.First;

    /// <summary>The migration of the open device; null where there is none.</summary>
    protected MigrationMachine? Migration => device?.Migration;

    /// <summary>
    /// Takes the open device: at each open, and again when a driver that failed is made anew. Errors: what open(2) then fails with, or the request
    /// that found the device unattached.
    /// </summary>
    protected abstract VfioResult<MigratingDevice> Attach(MappedBars mapped);

    /// <summary>The device is not open any more, or not this driver's: what <see cref="Attach"/> took is let go.</summary>
    protected virtual void OnDetached()
    {
    }

    /// <summary>The core has opened the device, and reset it (LC-20), of which nothing else is said: before <see cref="Attach"/>.</summary>
    /// <param name="then">Goes on; maybe later (<see cref="VariantDriver.After"/>).</param>
    protected virtual void CompleteOpen(Action then) => then();

    /// <summary>reset_prepare (IO-51): before a reset that the holder asks for.</summary>
    /// <param name="then">Goes on with the reset; maybe later (<see cref="VariantDriver.After"/>).</param>
    protected virtual void PrepareReset(Action then) => then();

    /// <summary>reset_done (IO-51): after a reset, before the device is used.</summary>
    /// <param name="then">Goes on; maybe later (<see cref="VariantDriver.After"/>).</param>
    protected virtual void CompleteReset(Action then) => then();

    /// <summary>What <see cref="PrepareReset"/> prepared was not done: the reset was refused, or failed.</summary>
    protected virtual void AbandonReset()
    {
    }

    // ---- Opening and closing (VD-1) --------------------------------------------------------------------------------------------------

    private void Open(OpenDevice open) => AskCore(open, reply =>
    {
        if (reply is not DeviceOpened opened)
        {
            Reply(reply);
            return;
        }

        // By its group it may be open already, and then stays as it is (LC-12): but for a session whose end has not been told yet.
        if (open.Group is null || held.First == default)
            OpenFirst(opened);
        else
            AskCore(new GetDeviceInfo(held.First), other =>
            {
                if (other is DeviceFailed)
                {
                    OpenFirst(opened);
                    return;
                }

                held.Add(opened.Session);
                Reply(opened);
            });
    });

    private void OpenFirst(DeviceOpened opened)
    {
        Forget();
        CompleteOpen(() => Take(
            opened.Session,
            _ => Reply(opened),
            failed => AskCore(new CloseDevice(opened.Session), _ => Reply(failed))));
    }

    private void Close(CloseDevice close)
    {
        Leave(close.Session);
        AskCore(close, Reply);
    }

    /// <summary>With the last session what the driver has of the device ends.</summary>
    private void Leave(SessionId session)
    {
        if (held.IsLast(session))
            Forget();
        else
            held.Remove(session);
    }

    /// <summary>A reset leaves RUNNING and no stream (MG-34); while it is tried, streams do not reach the device.</summary>
    private void Reset(ResetDevice reset)
    {
        var migration = held.Contains(reset.Session) ? device?.Migration : null;
        migration?.BeginReset();
        PrepareReset(() => AskCore(reset, reply =>
        {
            if (reply is DeviceDone)
                CompleteReset(End);
            else
            {
                AbandonReset();
                End();
            }

            void End()
            {
                migration?.EndReset(done: reply is DeviceDone);
                Tell(migration);
                Reply(reply);
            }
        }));
    }

    /// <summary>Whatever was under way is over: RUNNING, and no stream (MG-34).</summary>
    protected override void OnFunctionReset(VfioResult outcome)
    {
        if (!outcome.IsOk)
            return;
        CompleteReset(() =>
        {
            device?.Migration?.Reset();
            Tell(device?.Migration);
        });
    }

    protected override void OnSessionClosed(SessionId session) => Leave(session);

    /// <summary>The streams of a driver that failed reach nothing any more: the one that comes after it does not know them.</summary>
    protected override void PostStop()
    {
        LetGo();
        base.PostStop();
    }

    /// <summary>
    /// Runs what needs the device, after taking it if need be: a driver that was made anew has lost its mappings, and the core has not lost the
    /// session. A session that is not open is refused by the core there.
    /// </summary>
    protected void WithDevice(SessionId session, Action then, Action<DeviceFailed> failed) => WithDevice(session, _ => then(), failed);

    private void WithDevice(SessionId session, Action<Attached> then, Action<DeviceFailed> failed)
    {
        if (device is { } attached && held.Contains(session))
            then(attached);
        else
            Take(session, then, failed);
    }

    private void Take(SessionId session, Action<Attached> then, Action<DeviceFailed> failed)
    {
        var mapped = new Dictionary<int, RegionMapping>();
        // A driver that maps nothing asks the core all the same whether there is such a session.
        if (bars.IsEmpty)
            AskCore(new GetDeviceInfo(session), reply => Go(reply, 0));
        else
            Map(0);

        void Map(int next) => AskCore(new MapRegion(session, bars[next]), reply => Go(reply, next));

        void Go(DeviceReply reply, int at)
        {
            if (reply is RegionMapped mapping)
                mapped[bars[at]] = mapping.Mapping;
            if (reply is DeviceFailed refused)
                failed(refused);
            else if (at + 1 < bars.Length)
                Map(at + 1);
            else
                Adopt();
        }

        void Adopt()
        {
            var own = Attach(new MappedBars(mapped));
            var migration = own is { IsOk: true, Value.Ops: { } ops } ? MigrationMachine.Register(ops) : default;
            if (own.Error.Errno != Errno.None || migration.Error.Errno != Errno.None)
            {
                failed(new DeviceFailed(own.IsOk ? migration.Error : own.Error));
                return;
            }

            device = new Attached(own.Value, own.Value.Ops is null ? null : migration.Value, own.Value.Log is { } log ? new DirtyLog(log) : null);
            held.Add(session);
            if (own.Value.IsLost)
                device.Migration?.Fail();
            Tell(device.Migration);
            then(device);
        }
    }

    private void Forget()
    {
        LetGo();
        held.Clear();
    }

    /// <summary>Streams end; the device stays as it is, and is reset by the core at the close.</summary>
    private void LetGo()
    {
        if (device is not { } gone)
            return;
        device = null;
        gone.Own.Ops?.LetGo();
        gone.Migration?.Close();
        OnDetached();
    }

    // ---- Migration and DMA logging (contract §6) -------------------------------------------------------------------------------------

    private void WithMigration(SessionRequest request, Action<MigrationMachine> then) => WithDevice(
        request.Session,
        attached =>
        {
            if (attached.Migration is { } migration)
                then(migration);
            else
                Forward();
        },
        Reply);

    private void WithLog(SessionRequest request, Action<DirtyLog> then) => WithDevice(
        request.Session,
        attached =>
        {
            if (attached.Log is { } log)
                then(log);
            else
                Forward();
        },
        Reply);

    /// <summary>An arc that takes time holds everything else up until it has ended.</summary>
    private void Advance(MigrationMachine migration, MigrationState before, VfioResult<MigrationDeviceState> set)
    {
        if (migration.State != before)
            Tell(migration);
        if (set is { IsOk: true, Value.ContinuesAfter: { } delay })
        {
            var reached = migration.State;
            After(delay, () => Advance(migration, reached, migration.Continue()));
        }
        else
        {
            Reply(set, static reached => new MigrationStateSet(reached.State, reached.Stream));
        }
    }

    private void StartLogging(DirtyLog log, StartDmaLogging start)
    {
        var started = log.Start(DirtyLog.MinReportPage, [new LoggingRange(start.Iova, start.Length)]);
        Reply(started.IsOk ? VfioResult.Ok : started.Error);
    }

    private static void Tell(MigrationMachine? migration)
    {
        if (migration is not null)
            Record(new MigrationStateChanged(migration.State));
    }
}
