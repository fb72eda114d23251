using System.Runtime.InteropServices;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>Any bytes give a value or an errno, and no claim in them costs more memory than they themselves are.</summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    private const int LongestInput = 320;

    /// <summary>A few small objects, and so much a byte: four of an eventfd become a reference of 24, eight of a capability an object.</summary>
    private const int AllocationFloor = 1024;
    private const int AllocationPerByte = 16;

    private static readonly IrqSetTests.Files Files = new();

    [Fact]
    public void Any_bytes_get_a_value_or_an_errno_and_bounded_memory()
    {
        var seed = FuzzRun.AnySeed;
        var inputs = FuzzRun.Times(FuzzRun.ToDecoders);
        output.WriteLine($"{inputs} inputs; {FuzzRun.Again(seed)}");
        var decoders = Decoders();
        var random = new Random(seed);
        foreach (var decoder in decoders)
            decoder(new byte[LongestInput]);

        var (fed, accepted) = (0, new int[decoders.Count]);
        for (var i = 0; i < inputs; i++)
        {
            var input = Input(random);
            var (decoder, limit) = (decoders[i % decoders.Count], AllocationFloor + (AllocationPerByte * input.Length));
            try
            {
                fed++;
                var (taken, allocated) = Decode(decoder, [.. input]);
                accepted[i % decoders.Count] += taken ? 1 : 0;
                // A collection in between counts a thread's whole allocation buffer as used, but not time after time.
                for (var again = 0; allocated > limit && again < 5; again++)
                    allocated = Decode(decoder, [.. input]).Allocated;
                Assert.InRange(allocated, 0, limit);
            }
            catch (Exception error)
            {
                Assert.Fail($"Input {i}, {input.Length} bytes, decoder {i % decoders.Count} ({FuzzRun.Again(seed)}): {error}");
            }
        }

        Assert.Equal(inputs, fed);
        output.WriteLine($"Accepted: {accepted.Sum()} by {decoders.Count} decoders.");
        Assert.All(accepted, (count, decoder) => Assert.True(count > 0, $"Decoder {decoder} refused all that it got."));
    }

    [Fact]
    public void A_run_without_a_factor_feeds_a_million_inputs_to_decoders_and_config_space() =>
        Assert.InRange(FuzzRun.ToDecoders + FuzzRun.ToConfigSpace + FuzzRun.ToDevices, 1_000_000, int.MaxValue);

    private static (bool Taken, long Allocated) Decode(Func<byte[], bool> decoder, byte[] input)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        var taken = decoder(input);
        return (taken, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>One for each structure, each request of the table, and each kind of data of any length.</summary>
    private static List<Func<byte[], bool>> Decoders() =>
    [
        .. StructCodec.All.Select(codec => (Func<byte[], bool>)codec.Take),
        .. IoctlTable.All.Select(row => (Func<byte[], bool>)(bytes => IoctlTable.Decode(row.Fd, row.Number, bytes).IsOk)),
        bytes => IoctlTable.Decode((FdKind)(bytes.Length % 6), BitConverter.ToUInt32([.. bytes, 0, 0, 0, 0]), bytes).IsOk,
        SetIrqsBothWays,
        HotResetInfo,
        HotReset,
        Feature,
        DmaBufRanges,
        bytes => GetDeviceFdIoctl.Decode(bytes).IsOk,
    ];

    private static bool SetIrqsBothWays(byte[] bytes)
    {
        var decoded = VfioIrqSet.DecodeSetIrqs(bytes, Files);
        return decoded.IsOk && VfioIrqSet.Encode(decoded.Value, bytes).IsOk;
    }

    private static bool HotResetInfo(byte[] bytes)
    {
        var info = VfioPciHotResetInfo.Decode(bytes);
        return info.IsOk && info.Value.TryDevices(bytes, out var devices) &&
               VfioPciHotResetInfo.EncodeReply(bytes, (uint)bytes.Length, info.Value.Flags, devices).IsOk;
    }

    private static bool HotReset(byte[] bytes)
    {
        var reset = VfioPciHotReset.Decode(bytes);
        return reset.IsOk && reset.Value.TryGroupFds(bytes, out _);
    }

    private static bool Feature(byte[] bytes)
    {
        var head = VfioDeviceFeature.Decode(bytes);
        return head.IsOk && head.Value.Plan(FeatureTable.Find(head.Value.Feature)).IsOk;
    }

    private static bool DmaBufRanges(byte[] bytes)
    {
        var payload = VfioDeviceFeatureDmaBuf.DecodePayload(bytes);
        return payload.IsOk && payload.Value.TryRanges(bytes, out _);
    }

    /// <summary>Noise, with sizes, flags and offsets near what is right often enough that it gets past the first checks.</summary>
    private static byte[] Input(Random random)
    {
        var input = new byte[random.Next(LongestInput)];
        random.NextBytes(input);
        var words = MemoryMarshal.Cast<byte, uint>(input.AsSpan());
        if (words.Length > 0 && random.Next(8) != 0)
            words[0] = random.Next(3) == 0 ? (uint)random.Next(LongestInput) : (uint)input.Length;
        for (var i = 1; i < words.Length; i++)
        {
            words[i] = random.Next(6) switch
            {
                0 => words[i],
                1 => (uint)random.Next(8),
                2 => 1u << random.Next(32),
                3 => uint.MaxValue - (uint)random.Next(24),
                4 => (uint)random.Next(LongestInput / 8) * 8,
                _ => 0,
            };
        }

        return input;
    }
}
