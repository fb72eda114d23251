using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

public sealed class IrqSetTests
{
    private const IrqSetFlags TriggerEventfd = IrqSetFlags.DataEventfd | IrqSetFlags.ActionTrigger;
    private const IrqSetFlags TriggerBool = IrqSetFlags.DataBool | IrqSetFlags.ActionTrigger;
    private const IrqSetFlags TriggerNone = IrqSetFlags.DataNone | IrqSetFlags.ActionTrigger;

    private static readonly Files Table = new();

    /// <summary>argsz, flags, start, count; then the part of the sentence that says which check came first.</summary>
    public static TheoryData<uint, uint, uint, uint, string> Refused() => new()
    {
        { 19, 0, uint.MaxValue, 1, "argsz is below 20" },
        { 20, 0x40, uint.MaxValue, 1, "past the end of the numbers" },
        { 20, 0x40, 1, uint.MaxValue - 1, "past the end of the numbers" },
        { 20, 0x40 | 3, 0, 1, "a flag is not known" },
        { 20, 0x20, 0, 1, "exactly one kind of data" },
        { 20, 0x23, 0, 1, "exactly one kind of data" },
        { 20, 0x26, 0, 1, "exactly one kind of data" },
        { 20, 0x22, 0, 1, "does not cover the data" },
        { 27, 0x24, 0, 2, "does not cover the data" },
        { uint.MaxValue, 0x24, 0, 0x4000_0000, "does not cover the data" },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void Checks_come_in_their_order_and_all_are_EINVAL_IO_40(uint argsz, uint flags, uint start, uint count, string sentence)
    {
        var request = new byte[64];
        new VfioIrqSet(argsz, (IrqSetFlags)flags, 2, start, count).Encode(request);

        var error = VfioIrqSet.DecodeSetIrqs(request, Table).Error;

        Assert.Equal(Errno.EINVAL, error.Errno);
        Assert.Contains(sentence, error.Sentence, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(20, TriggerNone, 1000, Errno.None)]
    [InlineData(22, TriggerBool, 2, Errno.None)]
    [InlineData(28, TriggerEventfd, 2, Errno.None)]
    [InlineData(20, TriggerEventfd, 0, Errno.None)]
    [InlineData(64, TriggerBool, 2, Errno.None)]
    public void Data_may_be_longer_than_count_but_not_shorter_IO_40(uint argsz, IrqSetFlags flags, uint count, Errno errno)
    {
        var request = new byte[64];
        new VfioIrqSet(argsz, flags, 2, 0, count).Encode(request);

        var decoded = VfioIrqSet.DecodeSetIrqs(request, Table);

        Assert.Equal(errno, decoded.Error.Errno);
        Assert.Equal(count, decoded.Value.Count);
        Assert.True(decoded.Value.Bools.Length + decoded.Value.Events.Length <= count);
    }

    [Fact]
    public void Data_that_argsz_promised_and_the_buffer_lacks_is_EFAULT_IO_2()
    {
        var request = new byte[27];
        new VfioIrqSet(28, TriggerEventfd, 2, 0, 2).Encode(request);

        Assert.Equal(Errno.EFAULT, VfioIrqSet.DecodeSetIrqs(request, Table).Error.Errno);
    }

    [Fact]
    public void Bools_are_a_byte_each()
    {
        var bytes = Convert.FromHexString("17000000" + "22000000" + "02000000" + "05000000" + "03000000" + "0100FF");

        var decoded = VfioIrqSet.DecodeSetIrqs(bytes, Table);

        Assert.Equal((2u, 5u, 3u, TriggerBool), (decoded.Value.Index, decoded.Value.Start, decoded.Value.Count, decoded.Value.Flags));
        Assert.Equal("0100FF", Convert.ToHexString(decoded.Value.Bools.Span));
    }

    [Fact]
    public void Descriptors_are_resolved_and_a_bad_one_is_kept_until_its_turn_comes_IO_43()
    {
        var bytes = Convert.FromHexString(
            "24000000" + "24000000" + "02000000" + "00000000" + "04000000" + "07000000" + "FFFFFFFF" + "08000000" + "09000000");

        var events = VfioIrqSet.DecodeSetIrqs(bytes, Table).Value.Events.ToArray();

        Assert.Equal([new(7, Files.Eventfd), EventRef.None, new(8, null, Errno.EINVAL), new(9, null, Errno.EBADF)], events);
    }

    [Theory]
    [InlineData(TriggerNone)]
    [InlineData(TriggerBool)]
    [InlineData(TriggerEventfd)]
    public void A_request_that_a_client_sends_is_the_one_that_arrives(IrqSetFlags flags)
    {
        EventRef[] events = (flags & IrqSetFlags.DataEventfd) != 0 ? [new EventRef(7, Files.Eventfd), EventRef.None] : [];
        byte[] bools = (flags & IrqSetFlags.DataBool) != 0 ? [1, 0] : [];
        var sent = new SetIrqs(1, 4, 2, flags, bools, events);
        var buffer = new byte[VfioIrqSet.SizeOf(sent)];

        Assert.True(VfioIrqSet.Encode(sent, buffer).IsOk);

        var arrived = VfioIrqSet.DecodeSetIrqs(buffer, Table).Value;
        Assert.Equal((sent.Index, sent.Start, sent.Count, sent.Flags), (arrived.Index, arrived.Start, arrived.Count, arrived.Flags));
        Assert.Equal(bools, arrived.Bools.ToArray());
        Assert.Equal(events, arrived.Events.ToArray());
    }

    [Fact]
    public void A_request_of_contradicting_data_is_sent_without_any()
    {
        var request = new SetIrqs(0, 0, 1, TriggerBool | TriggerEventfd, new byte[] { 1 }, new[] { EventRef.None });
        var buffer = new byte[20];

        Assert.True(VfioIrqSet.Encode(request, buffer).IsOk);
        Assert.Equal(Errno.EINVAL, VfioIrqSet.DecodeSetIrqs(buffer, Table).Error.Errno);
    }

    [Fact]
    public void A_buffer_too_short_to_send_from_is_EFAULT() =>
        Assert.Equal(Errno.EFAULT, VfioIrqSet.Encode(new SetIrqs(0, 0, 1, TriggerBool, new byte[] { 1 }), new byte[20]).Error.Errno);

    /// <summary>7 is an eventfd, 8 another file, nothing else is open.</summary>
    internal sealed class Files : IFileTable
    {
        public static readonly IEventTarget Eventfd = new FakeTarget();

        EventRef IFileTable.Eventfd(int fd) => fd switch
        {
            7 => new EventRef(fd, Eventfd),
            8 => new EventRef(fd, null, Errno.EINVAL),
            _ => new EventRef(fd, null, Errno.EBADF),
        };
    }
}
