using Akka.Actor;
using Fabric.Devices.Drivers;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.VfioUser.Client;

/// <summary>
/// In front of every function that another process serves: migration and the log of DMA, which that process has and the port to hardware does not
/// carry. Everything else falls through to the core. The bus of these functions asks for it, whatever their ids are: the driver of their ids is at
/// work where they are served.
/// </summary>
public sealed class VfioUserDriver : MigratingDriver
{
    /// <summary>As driver_override and claims name it.</summary>
    public const string Name = "vfio-user";

    private readonly RemoteMigration remote;

    private VfioUserDriver(DriverContext context, RemoteMigration remote)
        : base(context) => this.remote = remote;

    public static DriverRegistration Registration { get; } = new(Name, [], Name, PropsOf) { Probe = Probe };

    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        var flags = remote.GetFlags();
        if (!flags.IsOk)
            return flags.Error;
        var hasLog = remote.HasLog();
        if (!hasLog.IsOk)
            return hasLog.Error;
        var log = hasLog.Value ? new RemoteDirtyLog(remote) : null;
        if (flags.Value == MigrationFlags.None)
            return new MigratingDevice(null, log);
        // One found in the middle of a migration has lost its stream with the driver that began it.
        return new MigratingDevice(new RemoteArcs(remote, flags.Value), log)
        {
            IsLost = remote.GetState() is not { IsOk: true, Value: MigrationState.Running },
        };
    }

    private static Props PropsOf(DriverContext context)
    {
        var platform = (RemotePlatform)context.Platform;
        return Props.CreateBy(new Producer(context, platform.Migration));
    }

    private static VfioResult Probe(DriverContext context) => context.Platform is RemotePlatform
        ? VfioResult.Ok
        : VfioResult.Fail(Errno.ENODEV, "The function is not served by vfio-user; this driver is for those that are.");

    private sealed class Producer(DriverContext context, RemoteMigration remote) : IIndirectActorProducer
    {
        public Type ActorType => typeof(VfioUserDriver);

        public ActorBase Produce() => new VfioUserDriver(context, remote);

        public void Release(ActorBase actor)
        {
        }
    }
}
