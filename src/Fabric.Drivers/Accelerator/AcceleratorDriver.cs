using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Accelerator;

/// <summary>
/// The accelerator's virtual function: owns migration (all flags) and dirty logging, hides the two BARs that are the host's, clears the
/// engine's error in mmio_enabled. Everything else falls through to the core.
/// </summary>
public sealed class AcceleratorDriver : VariantDriver
{
    private const MigrationFlags Flags = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

    private readonly HeldSession held;
    private AcceleratorCommands? device;
    private MigrationState state = MigrationState.Running;
    private AcceleratorSaveStream? saving;
    private AcceleratorLoadStream? loading;
    private bool logging;

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
        On<GetMigrationFlags>(get => WithDevice(get.Session, _ => Reply(new MigrationFlagsRead(Flags))));
        On<GetMigrationState>(get => WithDevice(get.Session, _ => Reply(new MigrationStateRead(state))));
        On<SetMigrationState>(set => WithDevice(set.Session, commands => Walk(commands, set.Target)));
        On<GetMigrationDataSize>(get => WithDevice(get.Session, commands => Reply(new MigrationDataSizeRead(commands.StateBytes + AcceleratorMigration.ContextBytes))));
        On<StartDmaLogging>(start => WithDevice(start.Session, commands => StartLogging(commands, start)));
        On<StopDmaLogging>(stop => WithDevice(stop.Session, StopLogging));
        On<ReportDmaLogging>(report => WithDevice(report.Session, ReportLogging));
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

    /// <summary>
    /// A reset leaves RUNNING and no stream (MG-34). Streams end before it: none may take the state it leaves for the one it should carry. One
    /// that is refused leaves the state, without its stream.
    /// </summary>
    private void Reset(ResetDevice reset)
    {
        if (reset.Session == held.Id)
            DisableStreams();
        AskCore(reset, reply =>
        {
            if (reply is DeviceDone)
            {
                logging = false;
                Enter(MigrationState.Running);
            }

            Reply(reply);
        });
    }

    /// <summary>
    /// Runs what needs the device, after mapping it if need be: after a restart the driver has lost its mappings, and the core has not lost
    /// the session. A session that is not open is refused by the core there.
    /// </summary>
    private void WithDevice(SessionId session, Action<AcceleratorCommands> then) =>
        WithDevice(session, then, Reply);

    private void WithDevice(SessionId session, Action<AcceleratorCommands> then, Action<DeviceFailed> failed)
    {
        if (device is not null && session == held.Id)
            then(device);
        else
            Attach(session, then, failed);
    }

    private void Attach(SessionId session, Action<AcceleratorCommands> then, Action<DeviceFailed> failed)
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

            (device, held.Id) = (attached.Value, session);
            AdoptActivity(device);
            then(device);
        }
    }

    /// <summary>A device found in the middle of a migration has lost its stream with the driver: ERROR, until a reset (MG-31).</summary>
    private void AdoptActivity(AcceleratorCommands commands)
    {
        var activity = commands.ReadActivity();
        Enter(activity.IsOk && activity.Value == AcceleratorActivity.None ? MigrationState.Running : MigrationState.Error);
    }

    protected override void OnSessionClosed(SessionId session)
    {
        if (session == held.Id)
            Forget();
    }

    /// <summary>The streams of a driver that failed reach nothing any more: the one that comes after it does not know them.</summary>
    protected override void PostStop()
    {
        DisableStreams();
        base.PostStop();
    }

    private void Forget()
    {
        DisableStreams();
        (device, held.Id, logging, state) = (null, default, false, MigrationState.Running);
    }

    // ---- What the user may not see ---------------------------------------------------------------------------------------------------

    private static bool IsHidden(int region) => region is >= AcceleratorBar.State and <= AcceleratorBar.Migration + 1;

    private static VfioResult Hidden =>
        VfioResult.Fail(Errno.EINVAL, "This BAR is the host driver's; GET_REGION_INFO shows it empty.");

    // ---- Migration -------------------------------------------------------------------------------------------------------------------

    private void Walk(AcceleratorCommands commands, MigrationState target)
    {
        IMigrationStream? opened = null;
        while (state != target)
        {
            var next = MigrationArcs.Next(state, target, Flags);
            var done = next.IsOk ? CheckWhole(commands) : next.Error;
            if (done.IsOk)
                done = Perform(commands, state, next.Value, out opened);
            if (!done.IsOk)
            {
                Reply(done);
                return;
            }

            Enter(next.Value);
        }

        var whole = CheckWhole(commands);
        Reply(whole.IsOk ? new MigrationStateSet(state, opened) : new DeviceFailed(whole.Error));
    }

    /// <summary>A device that is not where it was put was reset in mid-migration (ER-10): ERROR, until it is reset by its holder (MG-31).</summary>
    private VfioResult CheckWhole(AcceleratorCommands commands)
    {
        if (state == MigrationState.Error)
            return VfioResult.Ok;
        var whole = commands.CheckActivity(ActivityOf(state), ~AcceleratorActivity.DmaLogOn);
        if (whole.Error.Errno is not (Errno.None or Errno.ENODEV))
            Enter(MigrationState.Error);
        return whole;
    }

    private static AcceleratorActivity ActivityOf(MigrationState state) => state switch
    {
        MigrationState.RunningP2P => AcceleratorActivity.InitiatorSuspended,
        MigrationState.Stop or MigrationState.Resuming => AcceleratorActivity.InitiatorSuspended | AcceleratorActivity.ResponderSuspended,
        MigrationState.StopCopy =>
            AcceleratorActivity.InitiatorSuspended | AcceleratorActivity.ResponderSuspended | AcceleratorActivity.StateLogOn,
        MigrationState.PreCopy => AcceleratorActivity.StateLogOn,
        MigrationState.PreCopyP2P => AcceleratorActivity.InitiatorSuspended | AcceleratorActivity.StateLogOn,
        _ => AcceleratorActivity.None,
    };

    /// <summary>One primitive arc (contract §7.2, as mlx5 does it): what the device is told, and which stream comes and goes.</summary>
    private VfioResult Perform(AcceleratorCommands commands, MigrationState from, MigrationState to, out IMigrationStream? opened)
    {
        opened = null;
        switch (from, to)
        {
            case (MigrationState.Running, MigrationState.RunningP2P):
            case (MigrationState.PreCopy, MigrationState.PreCopyP2P):
                return commands.Execute(AcceleratorCommand.SuspendInitiator);
            case (MigrationState.RunningP2P, MigrationState.Running):
            case (MigrationState.PreCopyP2P, MigrationState.PreCopy):
                return commands.Execute(AcceleratorCommand.ResumeInitiator);
            case (MigrationState.RunningP2P, MigrationState.Stop):
                return commands.Execute(AcceleratorCommand.SuspendResponder);
            case (MigrationState.Stop, MigrationState.RunningP2P):
                return commands.Execute(AcceleratorCommand.ResumeResponder);
            case (MigrationState.Running, MigrationState.PreCopy):
            case (MigrationState.RunningP2P, MigrationState.PreCopyP2P):
            case (MigrationState.Stop, MigrationState.StopCopy):
                opened = saving = new AcceleratorSaveStream(commands);
                if (to == MigrationState.StopCopy)
                    saving.Stop();
                return commands.Execute(AcceleratorCommand.StartStateLog);
            case (MigrationState.PreCopyP2P, MigrationState.StopCopy):
                var suspended = commands.Execute(AcceleratorCommand.SuspendResponder);
                saving?.Stop();
                return suspended;
            case (MigrationState.PreCopy, MigrationState.Running):
            case (MigrationState.PreCopyP2P, MigrationState.RunningP2P):
            case (MigrationState.StopCopy, MigrationState.Stop):
                DisableStreams();
                return commands.Execute(AcceleratorCommand.StopStateLog);
            case (MigrationState.Stop, MigrationState.Resuming):
                opened = loading = new AcceleratorLoadStream(commands);
                return VfioResult.Ok;
            case (MigrationState.Resuming, MigrationState.Stop):
                var loaded = loading?.Finish() ?? VfioResult.Ok;
                // A stream that was refused stays, and stays refused, until a reset.
                if (loaded.IsOk)
                    loading = null;
                return loaded;
            default:
                return VfioResult.Fail(Errno.EINVAL, "The accelerator has no such transition.");
        }
    }

    private void DisableStreams()
    {
        saving?.Disable();
        loading?.Disable();
        (saving, loading) = (null, null);
    }

    private void Enter(MigrationState entered)
    {
        state = entered;
        Record(new MigrationStateChanged(entered));
    }

    // ---- Dirty logging (MG-40…42) ----------------------------------------------------------------------------------------------------

    private void StartLogging(AcceleratorCommands commands, StartDmaLogging start)
    {
        if (logging)
            Reply(VfioResult.Fail(Errno.EINVAL, "DMA logging is on already; stop it first."));
        else if (start.Length == 0 || ((start.Iova | start.Length) & (AcceleratorMigration.LogPageSize - 1)) != 0)
            Reply(VfioResult.Fail(Errno.EINVAL, "DMA logging watches whole pages of 4096 bytes; align the range."));
        else if (start.Length > ulong.MaxValue - start.Iova)
            Reply(VfioResult.Fail(Errno.EOVERFLOW, "The range runs past the end of the 64-bit address space; shorten it."));
        else if (start.Length > AcceleratorMigration.MaxLogLength)
            Reply(VfioResult.Fail(Errno.E2BIG, "The range is longer than the accelerator can watch (64 GiB)."));
        else
        {
            var started = commands.StartDmaLog(start.Iova, start.Length);
            logging = started.IsOk;
            Reply(started);
        }
    }

    private void StopLogging(AcceleratorCommands commands)
    {
        logging = false;
        Reply(commands.Execute(AcceleratorCommand.StopDmaLog));
    }

    private void ReportLogging(AcceleratorCommands commands)
    {
        if (!logging)
        {
            Reply(VfioResult.Fail(Errno.EINVAL, "DMA logging is not on; start it first."));
            return;
        }

        var taken = commands.TakeDmaLog();
        Reply(taken.IsOk ? new DmaLoggingReported(taken.Value) : new DeviceFailed(taken.Error));
    }

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
            WithDevice(held.Id, commands => Vote(commands.ClearInternalError()), failed => Vote(failed.Error));

        void Vote(VfioResult cleared) => Reply(new RecoveryVoted(cleared.Error.Errno switch
        {
            Errno.None => RecoveryVote.Recovered,
            Errno.ENODEV => RecoveryVote.None,
            _ => RecoveryVote.Disconnect,
        }));
    }
}
