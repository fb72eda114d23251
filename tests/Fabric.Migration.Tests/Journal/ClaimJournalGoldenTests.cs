using Akka.Actor;
using Fabric.Migration.Journal;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace Fabric.Migration.Tests.Journal;

/// <summary>
/// What journals hold already must stay readable for ever. The files were written once; FABRIC_ACCEPT_GOLDEN=1 writes those that are missing
/// and touches no other.
/// </summary>
public sealed class ClaimJournalGoldenTests : Akka.TestKit.Xunit.TestKit
{
    private const string AcceptVariable = "FABRIC_ACCEPT_GOLDEN";

    /// <summary>Not of any message: an event of a later version may carry it.</summary>
    private const int UnknownField = 1999;

    private readonly ClaimJournalSerializer serializer;

    public ClaimJournalGoldenTests()
        : base(ClaimJournalSerializer.Hocon) =>
        serializer = new ClaimJournalSerializer((ExtendedActorSystem)Sys);

    public static TheoryData<string> Files => [.. JournalSamples.All.Select(sample => sample.File)];

    public static TheoryData<string> Manifests => [.. ClaimJournalSerializer.KnownManifests];

    [Theory]
    [MemberData(nameof(Files))]
    public void A_golden_file_is_read_as_the_message_it_was_written_from(string file)
    {
        var sample = Sample(file);

        Assert.Equal(sample.Message, serializer.FromBinary(Golden(file), sample.Manifest));
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void The_message_is_written_as_the_bytes_of_its_golden_file(string file)
    {
        var sample = Sample(file);

        Assert.Equal(Golden(file), serializer.ToBinary(sample.Message));
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void A_message_goes_under_the_manifest_of_its_golden_file(string file)
    {
        var sample = Sample(file);

        Assert.Equal(sample.Manifest, serializer.Manifest(sample.Message));
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Bytes_with_a_field_that_is_not_known_are_still_read(string file)
    {
        var sample = Sample(file);
        var bytes = new MemoryStream();
        bytes.Write(Golden(file));
        using (var output = new CodedOutputStream(bytes, leaveOpen: true))
        {
            output.WriteTag(UnknownField, WireFormat.WireType.LengthDelimited);
            output.WriteString("of a later version");
        }

        var read = (IMessage)serializer.FromBinary(bytes.ToArray(), sample.Manifest);

        Assert.All(read.Descriptor.Fields.InFieldNumberOrder(), field =>
            Assert.Equal(field.Accessor.GetValue(sample.Message), field.Accessor.GetValue(read)));
    }

    [Theory]
    [MemberData(nameof(Manifests))]
    public void Every_manifest_has_a_golden_file(string manifest) =>
        Assert.Contains(JournalSamples.All, sample => sample.Manifest == manifest && Golden(sample.File).Length > 0);

    [Theory]
    [MemberData(nameof(Manifests))]
    public void The_last_golden_file_of_a_manifest_has_every_field(string manifest) =>
        Assert.Empty(Defaults(JournalSamples.All.Last(sample => sample.Manifest == manifest).Message));

    [Fact]
    public void Every_golden_file_is_of_a_known_manifest() =>
        Assert.Equal(
            JournalSamples.All.Select(sample => sample.File).Order(StringComparer.Ordinal),
            Directory.GetFiles(GoldenFolder()).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal));

    [Fact]
    public void Everything_that_is_journaled_has_a_manifest()
    {
        var journaled = typeof(IJournaled).Assembly.GetTypes().Where(type => type.IsAssignableTo(typeof(IJournaled)) && !type.IsAbstract);

        Assert.Equal(
            ClaimJournalSerializer.KnownManifests.Order(StringComparer.Ordinal),
            journaled.Select(type => serializer.Manifest(Activator.CreateInstance(type)!)).Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void What_is_journaled_goes_to_this_serializer(string file) =>
        Assert.IsType<ClaimJournalSerializer>(Sys.Serialization.FindSerializerFor(Sample(file).Message));

    [Fact]
    public void A_manifest_of_a_newer_version_is_refused_with_what_to_do()
    {
        var refused = Assert.Throws<ArgumentException>(() => serializer.FromBinary([], "claim.created.v2"));

        Assert.StartsWith(
            "The journal holds 'claim.created.v2', which this version does not know; it was written by a newer one. Run that, or a later one.",
            refused.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_not_journaled_has_no_manifest()
    {
        var refused = Assert.Throws<ArgumentException>(() => serializer.Manifest(new Phase()));

        Assert.StartsWith("Phase is not kept in the journal.", refused.Message, StringComparison.Ordinal);
    }

    private static (string Manifest, string File, IMessage Message) Sample(string file) => JournalSamples.All.Single(sample => sample.File == file);

    private static byte[] Golden(string file)
    {
        var path = Path.Combine(GoldenFolder(), file);
        if (!File.Exists(path) && Environment.GetEnvironmentVariable(AcceptVariable) == "1")
            File.WriteAllBytes(path, JournalSamples.All.Single(sample => sample.File == file).Message.ToByteArray());
        Assert.True(File.Exists(path), $"There is no golden file {file}; write it once with {AcceptVariable}=1 and check it in.");
        return File.ReadAllBytes(path);
    }

    /// <summary>Names of the fields, also of messages within, that are at their default and so not in the bytes.</summary>
    private static IEnumerable<string> Defaults(IMessage message) => message.Descriptor.Fields.InFieldNumberOrder().SelectMany(field =>
        field.Accessor.GetValue(message) switch
        {
            System.Collections.IList { Count: 0 } => [field.FullName],
            System.Collections.IList list when field.FieldType == FieldType.Message => Defaults((IMessage)list[0]!),
            System.Collections.IList => [],
            IMessage within => Defaults(within),
            ByteString bytes => bytes.IsEmpty ? [field.FullName] : [],
            string text => text.Length == 0 ? [field.FullName] : [],
            var value => value is null || value.Equals(Activator.CreateInstance(value.GetType())) ? [field.FullName] : Array.Empty<string>(),
        });

    private static string GoldenFolder()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Fabric.sln")))
                return Path.Combine(folder.FullName, "tests", "Fabric.Migration.Tests", "Journal", "golden");
        }

        throw new InvalidOperationException($"No Fabric.sln above {AppContext.BaseDirectory}; run the tests from a checkout.");
    }
}
