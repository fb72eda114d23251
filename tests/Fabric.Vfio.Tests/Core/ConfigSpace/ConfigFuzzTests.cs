using System.Buffers.Binary;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Core;
using Fabric.Vfio.Core.ConfigSpace;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>
/// Whatever hardware claims and whatever the user asks: bytes or EFAULT, never an exception, and nothing reaches hardware that must not.
/// Nothing costs more memory than what was asked. <see cref="FuzzRun"/> says how to run it again, and longer.
/// </summary>
public sealed class ConfigFuzzTests(ITestOutputHelper output)
{
    private const int AccessesOfEach = 350;
    private const int RequestsOfEach = 200;

    /// <summary>Bytes that opening may take: config space three times over and what is known of each byte, a capability in every place.</summary>
    private const int OpeningBytes = 256 * 1024;

    /// <summary>
    /// Bytes that an access may take, and so many for each byte that is written: the functions of the tests keep each write. Most of the
    /// first is for the runtime: a collection in between counts a thread's whole allocation buffer as used.
    /// </summary>
    private const int AccessBytes = 64 * 1024;
    private const int BytesPerByte = 96;

    /// <summary>Bytes of the header that no user may change: ids, STATUS to class, header type, subsystem, capabilities pointer on.</summary>
    private static readonly int[] ReadOnly =
        [0, 1, 2, 3, .. Enumerable.Range(0x06, 6), 0x0e, .. Enumerable.Range(0x28, 8), .. Enumerable.Range(0x34, 12)];

    [Fact]
    public void Any_access_to_any_config_space_gives_bytes_or_EFAULT_and_keeps_the_rules_CF_1_CF_2_CF_20_CF_52() =>
        Feed(FuzzRun.Times(FuzzRun.ToConfigSpace), Walk);

    [Fact]
    public void Any_access_to_config_space_of_a_device_gives_bytes_or_an_errno_and_keeps_the_laws_CF_2_INV_1_INV_2() =>
        Feed(FuzzRun.Times(FuzzRun.ToDevices), Use);

    private void Feed(int inputs, Func<Random, int> walk)
    {
        var seed = FuzzRun.AnySeed;
        output.WriteLine($"{inputs} inputs; {FuzzRun.Again(seed)}");
        var fed = 0;
        try
        {
            for (var random = new Random(seed); fed < inputs;)
                fed += walk(random);
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException($"After {fed} inputs ({FuzzRun.Again(seed)}).", failure);
        }

        Assert.InRange(fed, inputs, inputs + AccessesOfEach);
    }

    /// <summary>The core as a whole over such a function: what config space sets off in it is part of it.</summary>
    private static int Use(Random random)
    {
        var function = AnyFunction(random);
        function.Config[ConfigOffset.HeaderType] &= 0x80;
        var registered = VfioPciCore.Register(function, DriverDeclaration.VfioPci with { HasDenylist = false }, new CoreOptions(AllowNoIommu: true));
        if (!registered.IsOk)
            return 1;
        var core = registered.Value;
        core.Open();
        var buffer = new byte[5000];
        for (var i = 0; i < RequestsOfEach; i++)
        {
            var offset = AnyOffset(random, function.Config);
            var data = buffer.AsSpan(0, random.Next(20) == 0 ? random.Next(buffer.Length) : random.Next(17));
            random.NextBytes(data);
            var errno = random.Next(40) switch
            {
                0 => core.Open().Error.Errno,
                1 when random.Next(4) == 0 => Closed(core),
                2 => core.Reset().Error.Errno,
                3 => core.ResetByHost().Error.Errno,
                4 => core.EnterLowPower().Error.Errno,
                < 15 => core.Read(RegionIndex.Config, offset, data).Error.Errno,
                _ => core.Write(RegionIndex.Config, offset, data).Error.Errno,
            };
            Assert.True(Enum.IsDefined(errno));
            Assert.Empty(core.CheckInvariants());
        }

        return RequestsOfEach;
    }

    private static Errno Closed(VfioPciCore core)
    {
        core.Close();
        return Errno.None;
    }

    private static int Walk(Random random)
    {
        var function = AnyFunction(random);
        var atOpen = (byte[])function.Config.Clone();
        var effects = new RecordedEffects();
        var before = GC.GetAllocatedBytesForCurrentThread();
        var config = new VirtualConfig(function, effects);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, OpeningBytes);
        var chain = Chains(config);
        var buffer = new byte[5000];
        for (var i = 0; i < AccessesOfEach; i++)
        {
            effects.IsMsiActive = random.Next(2) == 0;
            effects.MsiQueueMax = random.Next(6);
            var offset = AnyOffset(random, function.Config);
            var data = buffer.AsSpan(0, random.Next(20) == 0 ? random.Next(buffer.Length) : random.Next(17));
            random.NextBytes(data);
            var reads = random.Next(3) == 0;
            function.Writes.EnsureCapacity(function.Writes.Count + (2 * data.Length) + 16);
            effects.Calls.EnsureCapacity(effects.Calls.Count + data.Length + 16);
            before = GC.GetAllocatedBytesForCurrentThread();
            var result = reads ? config.Read(offset, data) : config.Write(offset, data);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, AccessBytes + (reads ? 0 : BytesPerByte * data.Length));
            var fits = offset <= (ulong)config.Size && (ulong)data.Length <= (ulong)config.Size - offset;
            Assert.Equal(fits ? Errno.None : Errno.EFAULT, result.Error.Errno);
            if (fits)
                Assert.Equal(data.Length, result.Value);
        }

        Assert.All(ReadOnly, at => Assert.Equal(atOpen[at], function.Config[at]));
        Assert.All(BarWrites(function), write => Assert.Equal(atOpen.AsSpan(write.Offset, write.Bytes.Length).ToArray(), write.Bytes));
        Assert.Equal(chain, Chains(config));
        return AccessesOfEach;
    }

    private static IEnumerable<(int Offset, byte[] Bytes)> BarWrites(ConfigFunction function) => function.Writes.Where(write =>
        write.Offset is (>= ConfigOffset.Bar0 and < ConfigOffset.CardBusCis) or (>= ConfigOffset.RomBar and < ConfigOffset.CapabilitiesPointer));

    /// <summary>Both chains as the user sees them; they must end.</summary>
    private static List<uint> Chains(VirtualConfig config)
    {
        var seen = new List<uint>();
        if ((Read(config, ConfigOffset.Status) & (uint)PciStatus.CapabilitiesList) != 0)
        {
            for (var at = Read(config, ConfigOffset.CapabilitiesPointer) & 0xff; at != 0; at = (Read(config, (int)at) >> 8) & 0xff)
            {
                Assert.DoesNotContain(at, seen);
                seen.Add(at);
            }
        }

        var extended = config.Size > ConfigOffset.ConventionalSize ? (uint)ConfigOffset.ConventionalSize : 0;
        for (; extended != 0; extended = Read(config, (int)extended) >> 20)
        {
            Assert.DoesNotContain(extended, seen);
            seen.Add(extended);
        }

        return seen;
    }

    private static uint Read(VirtualConfig config, int at)
    {
        Span<byte> bytes = stackalloc byte[4];
        config.Read((ulong)at, bytes);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    private static ulong AnyOffset(Random random, byte[] config) => random.Next(8) switch
    {
        0 => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
        1 => (ulong)(config.Length - 20 + random.Next(40)),
        2 => (ulong)(ConfigOffset.ConventionalSize - 20 + random.Next(40)),
        3 or 4 => (ulong)random.Next(ConfigOffset.HeaderSize),
        5 => (ulong)random.Next(ConfigOffset.ConventionalSize),
        _ => (ulong)random.Next(config.Length),
    };

    /// <summary>Noise, with noise for chains: capabilities anywhere, overlapping, in loops, into the header, past the end.</summary>
    private static ConfigFunction AnyFunction(Random random)
    {
        var config = new byte[random.Next(3) == 0 ? ConfigOffset.ConventionalSize : ConfigOffset.ExtendedSize];
        if (random.Next(4) != 0)
            random.NextBytes(config);
        else if (random.Next(4) == 0)
            config.AsSpan().Fill(0xff);
        if (random.Next(8) != 0)
            config[ConfigOffset.Status] |= (byte)PciStatus.CapabilitiesList;
        for (var i = random.Next(40); i > 0; i--)
        {
            var at = random.Next(ConfigOffset.HeaderSize / 4, ConfigOffset.ConventionalSize / 4) * 4;
            config[at] = random.Next(3) == 0 ? (byte)StandardCapability.PciExpress : (byte)random.Next(0x18);
            config[at + 1] = (byte)random.Next(256);
            config[ConfigOffset.CapabilitiesPointer] = (byte)at;
        }

        for (var i = config.Length == ConfigOffset.ExtendedSize ? random.Next(200) : 0; i >= 0 && config.Length == ConfigOffset.ExtendedSize; i--)
        {
            var at = i == 0 ? ConfigOffset.ConventionalSize : random.Next(ConfigOffset.ConventionalSize / 4, ConfigOffset.ExtendedSize / 4) * 4;
            BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(at), (uint)random.Next(0x32) | 0x1_0000 | ((uint)random.Next(4096) << 20));
        }

        var function = new ConfigFunction(config) { Traits = (FunctionTraits)random.Next(8), HasLine = random.Next(2) == 0 };
        for (var bar = 0; bar < function.Bars.Length; bar++)
            function.Bars[bar] = new PciBar((BarKind)random.Next(4), random.Next(3) == 0 ? 0 : 1UL << random.Next(64));
        function.Rom = new PciRom((ulong)random.Next(2) * (1UL << random.Next(32)), 0, (ulong)random.Next(1 << 20));
        return function;
    }
}
