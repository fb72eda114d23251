using System.Globalization;
using System.Runtime.InteropServices;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>Any bytes give a value or an errno, and no claim in them costs more memory than they themselves are.</summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    private const int Inputs = 700_000;
    private const string SeedVariable = "FABRIC_FUZZ_SEED";
    private const int LongestInput = 320;

    /// <summary>A few small objects, and as much for every byte: an eventfd's four bytes become a reference of 24, a capability's eight an object.</summary>
    private const int AllocationFloor = 1024;
    private const int AllocationPerByte = 16;

    private static readonly IrqSetTests.Files Files = new();

    [Fact]
    public void Any_bytes_get_a_value_or_an_errno_and_bounded_memory_IO_2()
    {
        var seed = Environment.GetEnvironmentVariable(SeedVariable) is { } chosen
            ? int.Parse(chosen, CultureInfo.InvariantCulture)
            : Random.Shared.Next();
        output.WriteLine($"{Inputs} inputs; to run them again set {SeedVariable}={seed}");
        var decoders = Decoders();
        var random = new Random(seed);
        foreach (var decoder in decoders)
            decoder(new byte[LongestInput]);

        for (var i = 0; i < Inputs; i++)
        {
            var input = Input(random);
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                decoders[i % decoders.Count](input);
            }
            catch (Exception error)
            {
                Assert.Fail($"Seed {seed}, input {i}, decoder {i % decoders.Count}: {error}");
            }

            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            if (allocated > AllocationFloor + (AllocationPerByte * input.Length))
                Assert.Fail($"Seed {seed}, input {i}, decoder {i % decoders.Count}: {input.Length} bytes made it allocate {allocated}.");
        }
    }

    /// <summary>One for each structure, each request of the table, and each kind of data of any length.</summary>
    private static List<Action<byte[]>> Decoders() =>
    [
        .. StructCodec.All.Select(codec => (Action<byte[]>)codec.Take),
        .. IoctlTable.All.Select(row => (Action<byte[]>)(bytes => IoctlTable.Decode(row.Fd, row.Number, bytes))),
        bytes => IoctlTable.Decode((FdKind)(bytes.Length % 6), BitConverter.ToUInt32([.. bytes, 0, 0, 0, 0]), bytes),
        SetIrqsBothWays,
        HotReset,
        Feature,
        bytes => GetDeviceFdIoctl.Decode(bytes),
    ];

    private static void SetIrqsBothWays(byte[] bytes)
    {
        var decoded = VfioIrqSet.DecodeTyped(bytes, Files);
        if (decoded.IsOk)
            VfioIrqSet.Encode(decoded.Value, bytes);
    }

    private static void HotReset(byte[] bytes)
    {
        var info = VfioPciHotResetInfo.Decode(bytes);
        if (info.IsOk && info.Value.TryDevices(bytes, out var devices))
            VfioPciHotResetInfo.EncodeReply(bytes, (uint)bytes.Length, info.Value.Flags, devices);
        var reset = VfioPciHotReset.Decode(bytes);
        if (reset.IsOk)
            reset.Value.TryGroupFds(bytes, out _);
    }

    private static void Feature(byte[] bytes)
    {
        var head = VfioDeviceFeature.Decode(bytes);
        if (!head.IsOk || !head.Value.Plan(FeatureTable.Find(head.Value.Feature)).IsOk)
            return;
        var buffer = VfioDeviceFeatureDmaBuf.DecodePayload(bytes);
        if (buffer.IsOk)
            buffer.Value.TryRanges(bytes, out _);
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
