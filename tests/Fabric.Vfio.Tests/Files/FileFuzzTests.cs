using System.Globalization;
using System.Runtime.InteropServices;
using Fabric.Vfio.Core;
using Fabric.Vfio.Dirty;
using Fabric.Vfio.Files;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Tests.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Files;

/// <summary>
/// Any system call with any number and any bytes, on files of every kind, in any order, gives a value or an errno: never an exception, never
/// more memory than the bytes themselves account for. After every round all laws hold.
/// </summary>
public sealed class FileFuzzTests(ITestOutputHelper output)
{
    private const int Rounds = 1000;
    private const int CallsARound = 250;
    private const string SeedVariable = "FABRIC_FUZZ_SEED";

    /// <summary>
    /// What one call may cost: a few pages of names and payloads, a session with its config space, replies and resets of a whole slot. Far
    /// below what a claimed count or length could make of it.
    /// </summary>
    private const long AllocationLimit = 256 << 10;

    private static readonly uint[] Numbers = [.. IoctlTable.All.Select(row => row.Number).Distinct()];

    [Fact]
    public void Any_calls_on_any_files_get_a_value_or_an_errno_and_bounded_memory_INV_4()
    {
        var seed = Environment.GetEnvironmentVariable(SeedVariable) is { } chosen
            ? int.Parse(chosen, CultureInfo.InvariantCulture)
            : Random.Shared.Next();
        output.WriteLine($"{Rounds} rounds of {CallsARound} calls; to run them again set {SeedVariable}={seed}");
        var answered = new SortedDictionary<string, int>();
        for (var round = 0; round < Rounds; round++)
        {
            var process = new Process(new Random(HashCode.Combine(seed, round)));
            for (var call = 0; call < CallsARound; call++)
            {
                var before = GC.GetAllocatedBytesForCurrentThread();
                try
                {
                    var (what, errno) = process.Step();
                    Assert.True(Enum.IsDefined(errno), $"{errno} is no errno.");
                    var key = $"{what} {(errno == Errno.None ? "ok" : "refused")}";
                    answered[key] = answered.GetValueOrDefault(key) + 1;
                }
                catch (Exception error)
                {
                    Assert.Fail($"Seed {seed}, round {round}, call {call}: {error}");
                }

                var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
                if (allocated > AllocationLimit)
                    Assert.Fail($"Seed {seed}, round {round}, call {call}: it allocated {allocated} bytes.");
                var broken = process.Host.Files.CheckInvariants();
                Assert.True(broken.IsEmpty, $"Seed {seed}, round {round}, call {call}: {string.Join(' ', broken)}");
            }

            process.CloseAll(seed, round);
        }

        output.WriteLine(string.Join('\n', answered.Select(count => $"{count.Value,8} {count.Key}")));
        Assert.All(
            new[] { "GroupFile", "ContainerFile", "IommufdFile", "GroupDeviceFile", "CdevFile", "MigrationDataFile" },
            kind => Assert.True(answered.GetValueOrDefault($"{kind} ok") > 0, $"No call on a {kind} ever succeeded."));
    }

    private sealed class Process
    {
        private const MigrationFlags All = MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy;

        private readonly Random random;
        private readonly byte[] page = new byte[4096];

        public Process(Random random)
        {
            this.random = random;
            Host = new Host(new FakeMigration(All), new EmptyLog(), rightGroup: random.Next(2) + 1);
            Host.User.MaxDescriptors = 24;
            Host.User.AddEventfd();
            Host.User.AddOther();
            Prepare();
        }

        public Host Host { get; }

        private UserSpace User => Host.User;

        /// <summary>Most rounds begin with a device open, so that calls get past the first gates.</summary>
        private void Prepare()
        {
            switch (random.Next(6))
            {
                case 0 or 1:
                    Host.OpenByGroup(Host.LeftCore);
                    break;
                case 2 or 3:
                    var iommufd = Host.Iommufd();
                    Host.Attach(Host.OpenByCdev(Host.LeftCore, iommufd), Host.Ioas(iommufd));
                    break;
                default:
                    break;
            }
        }

        public (string What, Errno Errno) Step()
        {
            if (random.Next(16) == 0)
                return ("open", Open());
            var open = User.Files.ToArray();
            if (open.Length == 0)
                return ("open", Open());
            var inUse = open.Where(IsInUse).ToArray();
            var file = inUse.Length > 0 && random.Next(3) != 0 ? inUse[random.Next(inUse.Length)] : open[random.Next(open.Length)];
            return (file.GetType().Name, Call(file));
        }

        private static bool IsInUse(VfioFile file) => file is MigrationDataFile or DmaBufFile or DeviceFile { HasAccess: true };

        private Errno Open()
        {
            VfioResult<int> Install<T>(VfioResult<T> file) where T : VfioFile
            {
                if (!file.IsOk)
                    return file.Error;
                var fd = User.Reserve();
                if (fd.IsOk)
                    User.Install(fd.Value, file.Value);
                else
                    file.Value.Close();
                return fd;
            }

            return (random.Next(4) switch
            {
                0 => Install(Host.Files.OpenGroup(random.Next(5))),
                1 => Install<ContainerFile>(VfioFiles.OpenContainer()),
                2 => Install<IommufdFile>(VfioFiles.OpenIommufd()),
                _ => Install(Host.Files.OpenCdev(Host.Devices.Devices[random.Next(3)].Address)),
            }).Error.Errno;
        }

        private Errno Call(VfioFile file)
        {
            switch (random.Next(40))
            {
                case 0 when !IsInUse(file) || random.Next(8) == 0:
                    User.Close(Enumerable.Range(0, 64).First(fd => User.Find(fd) == file));
                    return Errno.None;
                case 1:
                    return file.Read(page.AsSpan(0, random.Next(64))).Error.Errno;
                case 2:
                    return file.ReadAt(Position(), page.AsSpan(0, random.Next(64))).Error.Errno;
                case 3:
                    return file.Write(page.AsSpan(0, random.Next(64))).Error.Errno;
                case 4:
                    random.NextBytes(page.AsSpan(0, 64));
                    return file.WriteAt(Position(), page.AsSpan(0, random.Next(64))).Error.Errno;
                case 5:
                    return file.Map(Position(), Number(), (MapOptions)random.Next(4)).Error.Errno;
                default:
                    return Ioctl(file);
            }
        }

        private Errno Ioctl(VfioFile file)
        {
            if (file is DeviceFile && random.Next(8) == 0)
                return WellFormed(file);
            var at = random.Next(12) switch
            {
                0 => Number(),
                1 => UserSpace.Start + UserSpace.Bytes - (ulong)random.Next(64),
                _ => UserSpace.Argument + ((ulong)random.Next(4) * 0x100),
            };
            if (at >= UserSpace.Start && at <= UserSpace.Start + UserSpace.Bytes - 256)
                Fill(User.Memory(at, 256));
            var argument = random.Next(8) == 0 ? (ulong)random.Next(12) : at;
            return file.Ioctl(Request(file), argument, User, User).Error.Errno;
        }

        /// <summary>Requests that lead on to more files, which noise seldom makes.</summary>
        private Errno WellFormed(VfioFile file)
        {
            if (file is CdevFile { HasAccess: false })
            {
                var iommufd = Enumerable.Range(0, 64).FirstOrDefault(fd => User.Find(fd) is IommufdFile, 99);
                User.Put(UserSpace.Argument, new VfioDeviceBindIommufd(16, BindFlags.None, iommufd, 0, 0));
                return file.Ioctl(DeviceIoctls.BindIommufd, UserSpace.Argument, User, User).Error.Errno;
            }

            User.Put(UserSpace.Argument, VfioDeviceFeature.Of(DeviceFeature.MigDeviceState, FeatureOps.Set, 8));
            User.Put(UserSpace.Argument + 8, new VfioDeviceFeatureMigState((MigrationState)random.Next(9)));
            return file.Ioctl(DeviceIoctls.Feature, UserSpace.Argument, User, User).Error.Errno;
        }

        /// <summary>Numbers of this kind of file, most of the time.</summary>
        private uint Request(VfioFile file)
        {
            FdKind? kind = file switch
            {
                ContainerFile => FdKind.Container,
                GroupFile => FdKind.Group,
                IommufdFile => FdKind.Iommufd,
                DeviceFile => FdKind.Device,
                MigrationDataFile => FdKind.MigrationData,
                _ => null,
            };
            if (kind is not null && random.Next(6) != 0)
            {
                var own = IoctlTable.All.Where(row => row.Fd == kind).ToArray();
                return own[random.Next(own.Length)].Number;
            }

            return random.Next(4) == 0 ? (uint)random.Next() : Numbers[random.Next(Numbers.Length)];
        }

        private ulong Position() => random.Next(4) == 0 ? Number() : ((ulong)random.Next(11) << 40) + (ulong)random.Next(0x2010);

        private ulong Number() => random.Next(4) switch
        {
            0 => (ulong)random.NextInt64(),
            1 => ulong.MaxValue - (ulong)random.Next(0x2000),
            2 => (ulong)random.Next(16) << 12,
            _ => 1UL << random.Next(64),
        };

        /// <summary>A device's name now and then; else noise, with sizes, flags, descriptors and addresses near what is right.</summary>
        private void Fill(Span<byte> bytes)
        {
            if (random.Next(8) == 0)
            {
                bytes.Clear();
                foreach (var (i, c) in Host.Devices.Devices[random.Next(3)].Address.ToString().Index())
                    bytes[i] = (byte)c;
                return;
            }

            var words = MemoryMarshal.Cast<byte, uint>(bytes);
            for (var i = 0; i < words.Length; i++)
            {
                words[i] = random.Next(9) switch
                {
                    0 => (uint)random.Next(),
                    1 => 1u << random.Next(32),
                    2 => uint.MaxValue - (uint)random.Next(24),
                    3 => (uint)random.Next(16) << 12,
                    4 => (uint)UserSpace.Start + ((uint)random.Next(16) << 12),
                    5 or 6 => (uint)random.Next(24),
                    _ => 0,
                };
            }

            if (random.Next(8) != 0)
                words[0] = (uint)random.Next(8, 72);
            if (random.Next(4) != 0)
                return;
            words[1] = (uint)random.Next(15) | (1u << random.Next(16, 19));
            words[2] = (uint)random.Next(9);
        }

        public void CloseAll(int seed, int round)
        {
            foreach (var fd in Enumerable.Range(0, 64))
                User.Close(fd);
            var closed = Host.Devices.Devices.All(static device => device is { IsOpen: false, References: 0 });
            Assert.True(closed, $"Seed {seed}, round {round}: a device stayed open.");
            for (var group = 1; group <= 3; group++)
                Assert.False(Host.Files.GroupOf(group).IsClaimed, $"Seed {seed}, round {round}: group {group} stayed claimed.");
            Host.Healthy();
        }
    }

    private sealed class EmptyLog : IDirtyLogOps
    {
        public int MaxRanges => 4;

        public ulong PageSizes => 0x1000;

        public VfioResult Start(IReadOnlyList<IovaRange> ranges, ulong pageSize) => VfioResult.Ok;

        public VfioResult Stop() => VfioResult.Ok;

        public VfioResult ReadAndClear(IovaRange range, IDirtyPages dirty)
        {
            dirty.Mark(range.First, range.Length);
            return VfioResult.Ok;
        }
    }
}
