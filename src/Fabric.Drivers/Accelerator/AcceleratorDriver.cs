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

    private AcceleratorCommands? device;
    private SessionId mapped;
    private MigrationState state = MigrationState.Running;
    private AcceleratorSaveStream? saving;
    private AcceleratorLoadStream? loading;
    private bool logging;

    public AcceleratorDriver(DriverContext context)
        : base(context)
    {
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
        context => Props.Create(() => new AcceleratorDriver(context)));

    // ---- Opening: the core first, then what is the driver's own (LC-25) --------------------------------------------------------------

    private void Open(OpenDevice open) => AskCore(open, reply =>
    {
        if (reply is not DeviceOpened opened)
        {
            Reply(reply);
            return;
        }

        Forget();
        Attach(opened.Session, _ => Reply(opened));
    });

    private void Close(CloseDevice close)
    {
        Forget();
        AskCore(close, Reply);
    }

    private void Reset(ResetDevice reset) => AskCore(reset, reply =>
    {
        if (reply is DeviceDone)
        {
            // MG-34: a reset leaves RUNNING and no stream.
            DisableStreams();
            logging = false;
            Enter(MigrationState.Running);
        }

        Reply(reply);
    });

    /// <summary>
    /// Runs what needs the device, after mapping it if need be: after a restart the driver has lost its mappings, and the core has not lost
    /// the session. A session that is not open is refused by the core there.
    /// </summary>
    private void WithDevice(SessionId session, Action<AcceleratorCommands> then)
    {
        if (device is not null && session == mapped)
            then(device);
        else
            Attach(session, then);
    }

    private void Attach(SessionId session, Action<AcceleratorCommands> then) =>
        Map(session, AcceleratorBar.Registers, registers =>
            Map(session, AcceleratorBar.State, memory =>
                Map(session, AcceleratorBar.Migration, migration =>
                {
                    device = new AcceleratorCommands(registers, memory, migration);
                    mapped = session;
                    AdoptActivity(device);
                    then(device);
                })));

    private void Map(SessionId session, int bar, Action<RegionMapping> then) => AskCore(new MapRegion(session, bar), reply =>
    {
        if (reply is RegionMapped mapping)
            then(mapping.Mapping);
        else
            Reply(reply);
    });

    /// <summary>A device found in the middle of a migration has lost its stream with the driver: ERROR, until a reset (MG-31).</summary>
    private void AdoptActivity(AcceleratorCommands commands)
    {
        var activity = commands.ReadActivity();
        Enter(activity.IsOk && activity.Value == AcceleratorActivity.None ? MigrationState.Running : MigrationState.Error);
    }

    protected override void OnSessionClosed(SessionId session)
    {
        if (session == mapped)
            Forget();
    }

    private void Forget()
    {
        DisableStreams();
        (device, mapped, logging, state) = (null, default, false, MigrationState.Running);
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
            var done = next.IsOk ? Perform(commands, state, next.Value, out opened) : next.Error;
            if (!done.IsOk)
            {
                Reply(done);
                return;
            }

            Enter(next.Value);
        }

        Reply(new MigrationStateSet(state, opened));
    }

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

    private void ClearError()
    {
        if (device is null)
            Reply(new RecoveryVoted(RecoveryVote.None));
        else
            Reply(new RecoveryVoted(device.ClearInternalError().IsOk ? RecoveryVote.Recovered : RecoveryVote.Disconnect));
    }
}
