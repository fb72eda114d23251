using System.Buffers.Binary;
using System.Diagnostics.Metrics;
using System.Runtime;
using System.Runtime.Serialization;
using System.Text;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Fabric.Migration.Wire;

namespace Fabric.Migration.Tests.Wire;

public sealed class HyperionWireSerializerTests : Akka.TestKit.Xunit.TestKit
{
    private const int HashBytes = 8;

    private readonly WireSetup setup;

    public HyperionWireSerializerTests()
        : this(new WireSetup(Samples.Contract))
    {
    }

    private HyperionWireSerializerTests(WireSetup setup)
        : base(ActorSystemSetup.Create(setup, BootstrapSetup.Create().WithConfig(
            ConfigurationFactory.ParseString(WireConfig.Hocon).WithFallback(DefaultConfig)))) => this.setup = setup;

    public static TheoryData<Type, int> MessagesAndVariants()
    {
        var data = new TheoryData<Type, int>();
        foreach (var message in Samples.Messages)
        {
            for (var variant = 0; variant < 3; variant++)
                data.Add(message, variant);
        }

        return data;
    }

    public static TheoryData<Type> Messages() => [.. Samples.Messages];

    [Theory]
    [MemberData(nameof(MessagesAndVariants))]
    public void A_full_message_comes_back_as_it_went(Type type, int variant)
    {
        var message = WireSample.Full(type, variant);

        Assert.Null(WireSample.Difference(message, RoundTrip(message)));
    }

    [Theory]
    [MemberData(nameof(Messages))]
    public void A_message_of_nulls_and_empty_arrays_comes_back_as_it_went(Type type)
    {
        var message = WireSample.Bare(type);

        Assert.Null(WireSample.Difference(message, RoundTrip(message)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(252)]
    [InlineData(253)]
    [InlineData(254)]
    [InlineData(255)]
    [InlineData(70_000)]
    public void Strings_of_every_length_class_come_back(int length)
    {
        var message = new Simple(new string('s', length), 1, 1);

        Assert.Equal(message, RoundTrip(message));
    }

    [Fact]
    public void Only_wire_messages_go_to_this_serializer() =>
        Assert.IsNotType<HyperionWireSerializer>(Sys.Serialization.FindSerializerFor(new NotAMessage("n")));

    [Fact]
    public void A_message_that_is_not_listed_is_not_sent() =>
        AssertRefused(() => Serializer.ToBinary(new Stranger("s")), "not a message of the wire contract");

    [Fact]
    public void A_bare_string_is_not_sent() =>
        AssertRefused(() => Serializer.ToBinary("hello"), "not a message of the wire contract");

    [Fact]
    public void A_listed_part_is_not_sent_on_its_own() =>
        AssertRefused(() => Serializer.ToBinary(new Part("p", default, [])), "not a message of the wire contract");

    [Fact]
    public void An_unlisted_case_of_a_listed_union_is_not_sent() =>
        AssertRefused(() => Serializer.ToBinary(new WithOutcome(EmittedTypes.ForeignCase<Outcome>(), [])), "Foreign.Case is not listed");

    [Fact]
    public void A_message_over_the_limit_is_not_sent() =>
        AssertRefused(() => Serializer.ToBinary(new Simple(new string('x', WireContract.MaxMessageBytes), 0, 0)), "data plane");

    [Fact]
    public void Bytes_over_the_limit_are_not_read() =>
        AssertRefused(() => Read(new byte[WireContract.MaxMessageBytes + 1]), "larger than");

    [Fact]
    public void A_message_of_another_contract_is_not_read()
    {
        var bytes = Serializer.ToBinary(new Simple("a", 1, 1));
        Convert.FromHexString(Samples.OtherContract.Hash["sha256:".Length..]).CopyTo(bytes, 0);

        AssertRefused(() => Read(bytes), Samples.Contract.Hash);
    }

    [Fact]
    public void A_type_named_in_the_bytes_is_not_resolved()
    {
        // What stock Hyperion writes for a type of no contract, in front of which an insider puts the right hash.
        using var stream = new MemoryStream();
        stream.Write(Prefix);
        new Hyperion.Serializer().Serialize(new NotAMessage("evil"), stream);

        AssertRefused(() => Read(stream.ToArray()), "names the type 'Fabric.Migration.Tests.Wire.NotAMessage");
    }

    [Fact]
    public void A_delegate_in_the_bytes_is_not_read()
    {
        using var stream = new MemoryStream();
        stream.Write(Prefix);
        new Hyperion.Serializer().Serialize(new Func<int>(() => 7), stream);

        AssertRefused(() => Read(stream.ToArray()), "names the type 'System.Func");
    }

    [Fact]
    public void A_bare_string_in_the_bytes_is_not_read()
    {
        using var stream = new MemoryStream();
        stream.Write(Prefix);
        new Hyperion.Serializer().Serialize("hello", stream);

        AssertRefused(() => Read(stream.ToArray()), "starts with 7");
    }

    [Fact]
    public void A_listed_part_in_the_bytes_is_not_read_on_its_own() =>
        AssertRefused(() => Read([.. Prefix, .. Numbered(typeof(Point)), .. new byte[8]]), "not a message itself");

    [Fact]
    public void A_number_beyond_the_contract_is_not_read() => AssertRefused(() => Read([.. Prefix, 254, 0xff, 0xff]), "type number 65535");

    [Fact]
    public void A_listed_type_in_the_wrong_place_is_not_read() =>
        AssertRefused(
            () => Read([.. Prefix, .. Numbered(typeof(WithOutcome)), 0, .. Numbered(typeof(Point)), .. new byte[8]]),
            "WithOutcome.Outcome holds a Fabric.Migration.Tests.Wire.Point");

    [Fact]
    public void A_message_nested_in_itself_does_not_exhaust_the_stack()
    {
        // WithOutcome.Earlier is an array of unions; each claims to hold one more message. Hyperion alone would follow to the end.
        var level = Numbered(typeof(WithOutcome)).ToArray();
        var levels = (WireContract.MaxMessageBytes - Prefix.Length) / level.Length;
        byte[] bytes = [.. Prefix, .. Enumerable.Repeat(level, levels).SelectMany(l => l)];

        AssertRefused(() => Read(bytes), "where the contract has");
    }

    [Theory]
    [InlineData(int.MaxValue)]
    [InlineData(-1)]
    public void A_length_that_the_bytes_cannot_hold_allocates_nothing(int length)
    {
        var claim = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(claim, length);

        AssertRefused(() => Read([.. Prefix, .. Numbered(typeof(Simple)), 255, .. claim]), "claims");
    }

    [Theory]
    [MemberData(nameof(Messages))]
    public void Trailing_bytes_are_not_read(Type type)
    {
        byte[] bytes = [.. Serializer.ToBinary(WireSample.Full(type, 0)), 0];

        AssertRefused(() => Read(bytes), "left over");
    }

    [Theory]
    [MemberData(nameof(Messages))]
    public void A_message_cut_short_anywhere_is_not_read(Type type)
    {
        MuteRefusals();
        var bytes = Serializer.ToBinary(WireSample.Full(type, 0));

        for (var length = 0; length < bytes.Length; length++)
            Assert.Throws<WireRefusedException>(() => Read(bytes[..length]));
    }

    [Theory]
    [MemberData(nameof(Messages))]
    public void One_corrupted_byte_gives_a_message_or_a_refusal_and_nothing_else(Type type)
    {
        MuteRefusals();
        var bytes = Serializer.ToBinary(WireSample.Full(type, 0));
        var refused = 0;

        for (var at = 0; at < bytes.Length; at++)
        {
            foreach (var flip in new byte[] { 0x01, 0x80, 0xff })
            {
                var corrupted = (byte[])bytes.Clone();
                corrupted[at] ^= flip;
                try
                {
                    Assert.IsAssignableFrom<IWireMessage>(Read(corrupted));
                }
                catch (WireRefusedException)
                {
                    refused++;
                }
            }
        }

        Assert.True(refused >= 3 * HashBytes, "a corrupted hash was read");
    }

    [Fact]
    public void Random_bytes_give_a_message_or_a_refusal_and_nothing_else()
    {
        MuteRefusals();
        var seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);

        for (var i = 0; i < 20_000; i++)
        {
            var noise = new byte[random.Next(40)];
            random.NextBytes(noise);
            byte[] bytes = [.. Prefix, 254, (byte)random.Next(Samples.Contract.Types.Count), 0, .. noise];
            try
            {
                Assert.IsAssignableFrom<IWireMessage>(Read(bytes));
            }
            catch (WireRefusedException refused)
            {
                Assert.NotEmpty(refused.Message);
            }
        }
    }

    [Fact]
    public void A_forged_type_name_cannot_forge_a_line_of_the_log()
    {
        var name = Encoding.UTF8.GetBytes("Evil\n[WARN] all is well " + new string('x', 500));
        var length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, name.Length);

        var refused = AssertRefused(() => Read([.. Prefix, 255, .. length, .. name]), "names the type 'Evil?[WARN]");
        Assert.True(refused.Message.Length < 300, refused.Message);
    }

    [Fact]
    public async Task A_refusal_is_logged_as_a_warning_with_its_sentence() =>
        await EventFilter.Warning(contains: "A message of 3 bytes was not delivered.").ExpectOneAsync(
            () =>
            {
                Assert.Throws<WireRefusedException>(() => Read([1, 2, 3]));
                return Task.CompletedTask;
            },
            TestContext.Current.CancellationToken);

    [Fact]
    public void Refusals_are_counted()
    {
        Assert.Throws<WireRefusedException>(() => Read([1]));
        Assert.Throws<WireRefusedException>(() => Serializer.ToBinary(new Stranger("s")));

        Assert.Equal(2, setup.Refusals.Total);
    }

    [Fact]
    public void Refusals_reach_the_meter_with_their_direction()
    {
        var directions = new List<object?>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Meter.Name == WireRefusals.MeterName)
                l.EnableMeasurementEvents(instrument);
        };
        var thread = Environment.CurrentManagedThreadId;
        listener.SetMeasurementEventCallback<long>((_, _, tags, _) =>
        {
            if (Environment.CurrentManagedThreadId == thread) // other tests refuse at the same time
                directions.Add(tags[0].Value);
        });
        listener.Start();

        Assert.Throws<WireRefusedException>(() => Read([1]));
        Assert.Throws<WireRefusedException>(() => Serializer.ToBinary(new Stranger("s")));

        Assert.Equal(["in", "out"], directions);
    }

    [Fact]
    public void A_refusal_is_a_serialization_exception_to_akka() =>
        Assert.IsAssignableFrom<SerializationException>(Record.Exception(() => Read([1])));

    [Fact]
    public async Task One_serializer_serves_many_threads_from_its_first_message()
    {
        var fresh = new WireCodec(WireContract.Of(Samples.Messages));
        using var start = new Barrier(8);

        var differences = await Task.WhenAll(Enumerable.Range(0, 8).Select(worker => Task.Factory.StartNew(
            () =>
            {
                start.SignalAndWait(TestContext.Current.CancellationToken);
                for (var i = 0; i < 300; i++)
                {
                    var message = WireSample.Full(Samples.Messages[(worker + i) % Samples.Messages.Length], worker * 1000 + i);
                    if (WireSample.Difference(message, fresh.Read(fresh.Write(message))) is { } difference)
                        return difference;
                }

                return null;
            },
            TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default)));

        Assert.All(differences, Assert.Null);
    }

    // Distributed data makes its own set of serializers in the middle of a connection, where heartbeats wait behind it.
    [Fact]
    public void A_second_serializer_of_a_contract_compiles_nothing()
    {
        RoundTrip(WireSample.Full(Samples.Messages[0], 0));
        var before = JitInfo.GetCompiledMethodCount(currentThread: true);

        var second = new HyperionWireSerializer((ExtendedActorSystem)Sys);
        second.FromBinary(second.ToBinary(WireSample.Full(Samples.Messages[0], 0)), typeof(object));

        Assert.InRange(JitInfo.GetCompiledMethodCount(currentThread: true) - before, 0, Samples.Messages.Length - 1);
    }

    [Fact]
    public void Types_are_numbered_never_named_in_the_bytes()
    {
        foreach (var type in Samples.Messages)
        {
            var text = Encoding.Latin1.GetString(Serializer.ToBinary(WireSample.Full(type, 0)));
            Assert.DoesNotContain("Fabric.", text, StringComparison.Ordinal);
        }
    }

    private HyperionWireSerializer Serializer =>
        Assert.IsType<HyperionWireSerializer>(Sys.Serialization.FindSerializerForType(typeof(IWireMessage)));

    private static byte[] Prefix => Convert.FromHexString(Samples.Contract.Hash["sha256:".Length..]);

    // Thousands of lines are slower to print than to check.
    private void MuteRefusals() => EventFilter.Warning(contains: "was not delivered").Mute();

    private object Read(byte[] bytes) => Serializer.FromBinary(bytes, typeof(object));

    private object RoundTrip(object message)
    {
        var serializer = Sys.Serialization.FindSerializerFor(message);
        Assert.IsType<HyperionWireSerializer>(serializer);
        var manifest = Akka.Serialization.Serialization.ManifestFor(serializer, message);
        return Sys.Serialization.Deserialize(Sys.Serialization.Serialize(message), serializer.Identifier, manifest);
    }

    private static IEnumerable<byte> Numbered(Type type)
    {
        var number = Samples.Contract.Types.Select(t => t.Type).ToList().IndexOf(type);
        return [254, (byte)number, (byte)(number >> 8)];
    }

    private static WireRefusedException AssertRefused(Action act, string because)
    {
        var refused = Assert.Throws<WireRefusedException>(act);
        Assert.Contains(because, refused.Message, StringComparison.Ordinal);
        return refused;
    }
}
