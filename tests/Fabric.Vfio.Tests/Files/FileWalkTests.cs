using CsCheck;
using Fabric.Vfio.Core;
using Fabric.Vfio.Files;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Tests.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>
/// Files of several kinds, opened, used and closed in any order. After every step the laws of the core and of opens hold, and a reference model
/// that knows of descriptors alone agrees on who may open what.
/// </summary>
public sealed class FileWalkTests
{
    private enum Op
    {
        OpenGroup,
        OpenCdev,
        OpenContainer,
        OpenIommufd,
        SetContainer,
        UnsetContainer,
        SetIommu,
        GetDevice,
        Bind,
        Attach,
        Detach,
        Map,
        Unmap,
        Reset,
        HotReset,
        Feature,
        Migrate,
        Export,
        MapBuffer,
        Unregister,
        Close,
        ResetFails,
    }

    private static readonly Gen<Step> AnyStep = Gen.Select(
        Gen.Frequency(
            (3, Gen.Const(Op.OpenGroup)), (3, Gen.Const(Op.OpenCdev)), (2, Gen.Const(Op.OpenIommufd)), (2, Gen.Const(Op.SetContainer)),
            (2, Gen.Const(Op.SetIommu)), (4, Gen.Const(Op.GetDevice)), (4, Gen.Const(Op.Bind)), (3, Gen.Const(Op.Attach)), (3, Gen.Const(Op.Close)),
            (22, Gen.Enum<Op>())),
        Gen.Int[0, 15],
        Gen.Int[0, 15],
        (op, first, second) => new Step(op, first, second));

    /// <summary>One line of a script: what is done, and with which files or numbers.</summary>
    private readonly record struct Step(Op Op, int First, int Second)
    {
        public override string ToString() => $"{Op}({First}, {Second})";
    }

    [Fact]
    public void Every_walk_over_files_keeps_the_laws_INV_4() => AnyStep.Array[1, 50].Sample(
        walk =>
        {
            if (FailureOf(walk) is { } failure)
                Assert.Fail($"{string.Join("\n", Shortest(walk))}\n{failure}");
        },
        iter: 1500,
        print: walk => $"{walk.Length} steps");

    private static Exception? FailureOf(IReadOnlyList<Step> walk)
    {
        var lab = new Lab();
        return Record.Exception(() =>
        {
            foreach (var step in walk)
            {
                lab.Take(step);
                lab.Check();
            }

            lab.CloseAll();
        });
    }

    /// <summary>Leaves out every step that the failure does not need.</summary>
    private static List<Step> Shortest(IEnumerable<Step> walk)
    {
        var script = walk.ToList();
        for (var length = 0; length != script.Count;)
        {
            length = script.Count;
            for (var i = script.Count - 1; i >= 0; i--)
            {
                List<Step> shorter = [.. script[..i], .. script[(i + 1)..]];
                if (FailureOf(shorter) is not null)
                    script = shorter;
            }
        }

        return script;
    }

    private sealed class Lab
    {
        private const MigrationFlags All = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

        private readonly Host host = new(new FakeMigration(All));

        /// <summary>The model: each descriptor's kind of open, by group; and the devices that are open, by what.</summary>
        private readonly Dictionary<int, (int Group, OpenKind Kind)> opens = [];

        private UserSpace User => host.User;

        public void Take(Step step)
        {
            var errno = Do(step);
            Assert.True(Enum.IsDefined(errno), $"{errno} is no errno.");
        }

        public void Check()
        {
            host.Healthy();
            foreach (var group in new[] { Host.LeftGroup, Host.RightGroup, Host.PhysicalGroup })
            {
                var kinds = opens.Values.Where(open => open.Group == group).Select(open => open.Kind).Distinct().ToArray();
                Assert.True(kinds.Length <= 1, $"INV-4: group {group} is open both ways.");
                Assert.Equal(kinds.Length == 0 ? OpenKind.None : kinds[0], host.Files.GroupOf(group).Kind);
            }

            foreach (var device in host.Devices.Devices)
                Assert.Equal(User.Files.OfType<DeviceFile>().Any(file => file.HasAccess && file.Ops.Device == device), device.IsOpen);
        }

        public void CloseAll()
        {
            foreach (var fd in opens.Keys.Concat(Enumerable.Range(0, 64)).ToArray())
                Close(fd);
            Check();
            Assert.True(host.Devices.Devices.All(static device => device.References == 0));
            foreach (var core in new[] { host.LeftCore, host.RightCore, host.PhysicalCore })
                Assert.NotEqual(RegistrationState.Unregistering, core.Registration);
        }

        private Errno Do(Step step)
        {
            var device = new[] { host.LeftCore, host.RightCore, host.PhysicalCore }[step.First % 3];
            switch (step.Op)
            {
                case Op.OpenGroup:
                    var group = (step.First % 4) + 1;
                    var opened = Open(host.Files.OpenGroup(group));
                    if (opened >= 0)
                        opens[opened] = (group, OpenKind.Group);
                    return Of(opened);
                case Op.OpenCdev:
                    return Of(Open(host.Files.OpenCdev(device.Address)));
                case Op.OpenContainer:
                    return Of(Open<ContainerFile>(VfioFiles.OpenContainer()));
                case Op.OpenIommufd:
                    return Of(Open<IommufdFile>(VfioFiles.OpenIommufd()));
                case Op.SetContainer:
                    return On<GroupFile>(step.First, fd => host.SetContainer(fd, Any<VfioFile>(step.Second)));
                case Op.UnsetContainer:
                    return On<GroupFile>(step.First, fd => User.Ioctl(fd, GroupIoctls.UnsetContainer));
                case Op.SetIommu:
                    return On<ContainerFile>(step.First, fd => User.Ioctl(fd, ContainerIoctls.SetIommu, (ulong)(step.Second % 4)));
                case Op.GetDevice:
                    return On<GroupFile>(step.First, fd =>
                    {
                        var got = host.GetDeviceFd(fd, new[] { host.LeftCore, host.RightCore, host.PhysicalCore }[step.Second % 3]);
                        if (got >= 0)
                            opens[got] = opens[fd];
                        return got;
                    });
                case Op.Bind:
                    return On<CdevFile>(step.First, fd =>
                    {
                        var bound = host.Bind(fd, Any<IommufdFile>(step.Second));
                        if (bound >= 0)
                            opens[fd] = (((CdevFile)User[fd]).Ops.Device.IommuGroup!.Value, OpenKind.Cdev);
                        return bound;
                    });
                case Op.Attach:
                    return On<CdevFile>(step.First, fd => host.Attach(fd, (uint)(step.Second % 5)));
                case Op.Detach:
                    return On<DeviceFile>(step.First, host.Detach);
                case Op.Map:
                    On<ContainerFile>(step.First, fd => User.IoctlOf(
                        fd,
                        ContainerIoctls.IommuMapDma,
                        new VfioIommuType1DmaMap(32, DmaMapFlags.Read, UserSpace.Start, (ulong)step.Second << 12, 0x1000)));
                    return On<IommufdFile>(step.First, fd =>
                    {
                        User.IoctlOf(fd, IommufdIoctls.IoasAlloc, new IommuIoasAlloc(12, 0, 0));
                        return host.MapIoas(fd, (uint)(step.Second % 4), (ulong)step.Second << 12);
                    });
                case Op.Unmap:
                    return On<IommufdFile>(step.First, fd => step.Second % 2 == 0
                        ? User.IoctlOf(fd, IommufdIoctls.IoasUnmap, new IommuIoasUnmap(24, (uint)(step.Second % 5), 0, ulong.MaxValue))
                        : User.IoctlOf(fd, IommufdIoctls.Destroy, new IommuDestroy(8, (uint)(step.Second % 5))));
                case Op.Reset:
                    return On<DeviceFile>(step.First, fd => User.Ioctl(fd, DeviceIoctls.Reset));
                case Op.HotReset:
                    return On<DeviceFile>(step.First, fd => User.IoctlOf(
                        fd,
                        DeviceIoctls.PciHotReset,
                        new VfioPciHotReset(12, 0, (uint)(step.Second % 3)),
                        [.. BitConverter.GetBytes(Any<GroupFile>(step.Second)), .. BitConverter.GetBytes(Any<GroupFile>(step.Second + 1))]));
                case Op.Feature:
                    return On<DeviceFile>(step.First, fd => host.Feature(fd, (DeviceFeature)step.Second, FeatureOps.Set));
                case Op.Migrate:
                    return On<DeviceFile>(
                        step.First, fd => host.FeatureOf(fd, FeatureOps.Set, new VfioDeviceFeatureMigState((MigrationState)(step.Second % 9))));
                case Op.Export:
                    return On<DeviceFile>(step.First, fd =>
                    {
                        User.Put(UserSpace.Argument + 24, new VfioRegionDmaRange(0, 0x1000));
                        return host.FeatureOf(fd, FeatureOps.Get, new VfioDeviceFeatureDmaBuf((uint)(step.Second % 3), 0, 0, 1));
                    });
                case Op.MapBuffer:
                    return On<IommufdFile>(step.First, fd => User.IoctlOf(
                        fd,
                        IommufdIoctls.IoasMapFile,
                        new IommuIoasMapFile(40, IoasMapFlags.Readable, (uint)(step.Second % 4), Any<DmaBufFile>(step.Second), 0, 0x1000, 0)));
                case Op.Unregister when step.Second < 3:
                    device.Unregister();
                    return Errno.None;
                case Op.Unregister:
                    return Errno.None;
                case Op.Close:
                    Close(Any<VfioFile>(step.First));
                    return Errno.None;
                case Op.ResetFails:
                    host.Left.OnReset = step.First % 3 == 0 ? Errno.EAGAIN : Errno.None;
                    return Errno.None;
                default:
                    throw new InvalidOperationException($"{step.Op} is no step.");
            }
        }

        private static Errno Of(int returned) => returned < 0 ? (Errno)(-returned) : Errno.None;

        private int Open<T>(VfioResult<T> file) where T : VfioFile => file.IsOk ? User.Add(file.Value) : -(int)file.Error.Errno;

        /// <summary>One of the descriptors of a kind; -1 where there is none.</summary>
        private int Any<T>(int number) where T : VfioFile
        {
            int[] fds = [.. Enumerable.Range(0, 128).Where(fd => User.Find(fd) is T)];
            return fds.Length == 0 ? -1 : fds[number % fds.Length];
        }

        private Errno On<T>(int number, Func<int, int> call) where T : VfioFile => Any<T>(number) is >= 0 and var fd ? Of(call(fd)) : Errno.None;

        /// <summary>A group's own descriptor that is closed before its devices leaves the group open: the model keeps the devices' lines.</summary>
        private void Close(int fd)
        {
            opens.Remove(fd);
            User.Close(fd);
        }
    }
}
