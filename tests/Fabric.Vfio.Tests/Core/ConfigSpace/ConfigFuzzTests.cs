using System.Buffers.Binary;
using System.Globalization;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>
/// Whatever hardware claims and whatever the user asks: bytes or EFAULT, never an exception, and nothing reaches hardware that must not.
/// A run prints its seed; FABRIC_FUZZ_SEED makes it run again.
/// </summary>
public sealed class ConfigFuzzTests(ITestOutputHelper output)
{
    private const int Functions = 1000;
    private const int AccessesOfEach = 350;

    /// <summary>Bytes of the header that no user may change: ids, STATUS to class, header type, subsystem, capabilities pointer on.</summary>
    private static readonly int[] ReadOnly =
        [0, 1, 2, 3, .. Enumerable.Range(0x06, 6), 0x0e, .. Enumerable.Range(0x28, 8), .. Enumerable.Range(0x34, 12)];

    private static int AnySeed =>
        int.TryParse(Environment.GetEnvironmentVariable("FABRIC_FUZZ_SEED"), CultureInfo.InvariantCulture, out var seed)
            ? seed
            : Random.Shared.Next();

    [Fact]
    public void Any_access_to_any_config_space_gives_bytes_or_EFAULT_and_keeps_the_rules_CF_1_CF_2_CF_20_CF_52()
    {
        var seed = AnySeed;
        output.WriteLine($"FABRIC_FUZZ_SEED={seed}");
        var accesses = 0;
        try
        {
            var random = new Random(seed);
            for (var i = 0; i < Functions; i++)
                accesses += Walk(random);
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException($"After {accesses} accesses with FABRIC_FUZZ_SEED={seed}.", failure);
        }

        Assert.True(accesses >= 300_000);
    }

    private static int Walk(Random random)
    {
        var function = AnyFunction(random);
        var atOpen = (byte[])function.Config.Clone();
        var effects = new RecordedEffects();
        var config = new VirtualConfig(function, effects);
        var chain = Chains(config);
        var buffer = new byte[5000];
        for (var i = 0; i < AccessesOfEach; i++)
        {
            effects.IsMsiActive = random.Next(2) == 0;
            effects.MsiQueueMax = random.Next(6);
            var offset = AnyOffset(random, function.Config);
            var data = buffer.AsSpan(0, random.Next(20) == 0 ? random.Next(buffer.Length) : random.Next(17));
            random.NextBytes(data);
            var result = random.Next(3) == 0 ? config.Read(offset, data) : config.Write(offset, data);
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
