using System.Runtime.CompilerServices;
using System.Text;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Files;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Tests.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>
/// A host with three cards, and a process on it: left (group 1) and right (group 2) share a slot that can be reset; a PF that makes VFs is by
/// itself in group 3. The left one has what drivers a test puts in front.
/// </summary>
internal sealed class Host
{
    public const int LeftGroup = 1;
    public const int RightGroup = 2;
    public const int PhysicalGroup = 3;

    private readonly MigrationMachine? migration;
    private readonly DirtyLog? dirtyLog;

    public Host(FakeMigration? driver = null, IDirtyLogOps? log = null, FunctionTraits leftTraits = FunctionTraits.None, int rightGroup = RightGroup)
    {
        Left = new CardFunction(Card.At(1), leftTraits) { IommuGroup = LeftGroup };
        Right = new CardFunction(Card.At(1, 1)) { IommuGroup = rightGroup };
        Physical = new CardFunction(Card.At(2)) { IommuGroup = PhysicalGroup };
        Bus = CardBus.OneSlot(Left, Right);
        Bus.Add(Physical);
        Devices = new VfioPciDevices(Bus, () => Token);
        migration = driver is null ? null : MigrationMachine.Register(driver).Value;
        dirtyLog = log is null ? null : new DirtyLog(log);
        Files = new VfioFiles(Devices, OpsOf);
        LeftCore = Devices.Register(Left, Declaration(driver, log), Options).Value;
        RightCore = Devices.Register(Right, options: Options).Value;
        PhysicalCore = Devices.Register(Physical, options: Options).Value;
    }

    public static Guid Token { get; } = Guid.Parse("01234567-89ab-cdef-0123-456789abcdef");

    public static CoreOptions Options { get; } = new(EnableSriov: true);

    public CardFunction Left { get; }

    public CardFunction Right { get; }

    public CardFunction Physical { get; }

    public CardBus Bus { get; }

    public VfioPciDevices Devices { get; }

    public VfioFiles Files { get; }

    public VfioPciCore LeftCore { get; }

    public VfioPciCore RightCore { get; }

    public VfioPciCore PhysicalCore { get; }

    public UserSpace User { get; } = new();

    /// <summary>Left's own, where it has one.</summary>
    public MigrationMachine Migration => migration!;

    /// <summary>What a test puts in front of left's op set.</summary>
    public Func<IDeviceOps, IDeviceOps> InFront { get; set; } = ops => ops;

    public void Healthy()
    {
        Assert.Empty(Files.CheckInvariants());
        Assert.All(Bus.Cards, card => Assert.Empty(card.Violations));
    }

    // ---- What a process does to get at a device --------------------------------------------------------------------------------------

    public int Group(int number) => User.Add(Files.OpenGroup(number).Value);

    public int Container() => User.Add(VfioFiles.OpenContainer());

    public int Iommufd() => User.Add(VfioFiles.OpenIommufd());

    public int Cdev(VfioPciCore device) => User.Add(Files.OpenCdev(device.Address).Value);

    public int SetContainer(int group, int container) => User.IoctlOf(group, GroupIoctls.SetContainer, container);

    /// <summary>A group in a container of its own with its IOMMU set.</summary>
    public (int Group, int Container) ReadyGroup(int number, ulong type = 3)
    {
        var (group, container) = (Group(number), Container());
        Assert.Equal(0, SetContainer(group, container));
        Assert.Equal(0, User.Ioctl(container, ContainerIoctls.SetIommu, type));
        return (group, container);
    }

    public int GetDeviceFd(int group, string name)
    {
        var text = Encoding.Latin1.GetBytes(name + "\0");
        text.CopyTo(User.Memory(UserSpace.Argument, text.Length));
        return User.Ioctl(group, GroupIoctls.GetDeviceFd, UserSpace.Argument);
    }

    public int GetDeviceFd(int group, VfioPciCore device) => GetDeviceFd(group, device.Address.ToString());

    /// <summary>A device opened by its group, container and all.</summary>
    public int OpenByGroup(VfioPciCore device)
    {
        var fd = GetDeviceFd(ReadyGroup(device.IommuGroup!.Value).Group, device);
        Assert.True(fd >= 0, $"GET_DEVICE_FD returned {fd}.");
        return fd;
    }

    public int Bind(int cdev, int iommufd) =>
        User.IoctlOf(cdev, DeviceIoctls.BindIommufd, new VfioDeviceBindIommufd(16, BindFlags.None, iommufd, 0, 0));

    public int Bind(int cdev, int iommufd, Guid token)
    {
        User.Put(UserSpace.Start, new Fabric.Vfio.Uapi.VfToken(token));
        return User.IoctlOf(cdev, DeviceIoctls.BindIommufd, new VfioDeviceBindIommufd(24, BindFlags.Token, iommufd, 0, UserSpace.Start));
    }

    /// <summary>A device bound to an iommufd by its cdev.</summary>
    public int OpenByCdev(VfioPciCore device, int iommufd)
    {
        var cdev = Cdev(device);
        Assert.Equal(0, Bind(cdev, iommufd));
        return cdev;
    }

    public uint Ioas(int iommufd)
    {
        var alloc = new IommuIoasAlloc(12, 0, 0);
        Assert.Equal(0, User.Ioctl(iommufd, IommufdIoctls.IoasAlloc, ref alloc));
        return alloc.OutIoasId;
    }

    public int Attach(int cdev, uint ptId) =>
        User.IoctlOf(cdev, DeviceIoctls.AttachIommufdPt, new VfioDeviceAttachIommufdPt(12, AttachFlags.None, ptId, 0));

    public int Detach(int cdev) => User.IoctlOf(cdev, DeviceIoctls.DetachIommufdPt, new VfioDeviceDetachIommufdPt(8, AttachFlags.None, 0));

    public int MapIoas(int iommufd, uint ioas, ulong iova, ulong length = 0x1000, ulong from = UserSpace.Start) => User.IoctlOf(
        iommufd,
        IommufdIoctls.IoasMap,
        new IommuIoasMap(40, IoasMapFlags.FixedIova | IoasMapFlags.Readable | IoasMapFlags.Writeable, ioas, 0, from, length, iova));

    public int Feature(int fd, DeviceFeature feature, FeatureOps ops) =>
        User.IoctlOf(fd, DeviceIoctls.Feature, VfioDeviceFeature.Of(feature, ops, 0));

    /// <summary>A feature with its payload, which it may change.</summary>
    public int Feature<T>(int fd, FeatureOps ops, ref T payload) where T : unmanaged, IFeaturePayload<T>
    {
        const ulong At = UserSpace.Argument + 8;
        User.Put(At, payload);
        var returned = User.IoctlOf(fd, DeviceIoctls.Feature, VfioDeviceFeature.Of(T.Feature, ops, Unsafe.SizeOf<T>()));
        payload = User.Get<T>(At);
        return returned;
    }

    public int FeatureOf<T>(int fd, FeatureOps ops, T payload) where T : unmanaged, IFeaturePayload<T> => Feature(fd, ops, ref payload);

    private IDeviceOps OpsOf(VfioPciCore core)
    {
        var plain = new PciDeviceOps(core);
        if (core.Address != Left.Address)
            return plain;
        return InFront(migration is null && dirtyLog is null ? plain : new MigratingDeviceOps(plain, migration, dirtyLog));
    }

    private DriverDeclaration Declaration(FakeMigration? driver, IDirtyLogOps? log) => driver is null && log is null
        ? DriverDeclaration.VfioPci
        : new DriverDeclaration("fake-vfio-pci")
        {
            Migration = driver is null ? MigrationCallbacks.None : MigrationCallbacks.All,
            MigrationFlags = driver?.Flags ?? default,
            Logging = log is null ? LoggingCallbacks.None : LoggingCallbacks.All,
            Resets = migration is null ? null : new MigrationResets(migration),
        };
}
