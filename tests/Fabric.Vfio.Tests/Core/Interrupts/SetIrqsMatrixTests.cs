using Fabric.Vfio.Core.Interrupts;
using Fabric.Vfio.Uapi;
using static Fabric.Vfio.Uapi.IrqIndex;

namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>The table of contract §2.5: what every kind of request returns in every state.</summary>
public sealed class SetIrqsMatrixTests
{
    private const uint Huge = uint.MaxValue;

    /// <summary>
    /// Index, action, data, start, count, then what is returned while nothing, INTx, MSI and MSI-X is active. Data: "-" none, "0" or "1" a
    /// bool, "ok", "-1", "-2", "bad" or "file" an eventfd, each as often as count says.
    /// </summary>
    private static readonly string[] Matrix =
    [
        // index action data start count |  none     INTx    MSI     MSI-X
        "Intx    mask    -     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    mask    1     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    mask    0     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    mask    -     0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    mask    1     0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    mask    ok    0  1      |  EINVAL   ENOTTY  EINVAL  EINVAL",
        "Intx    mask    bad   0  1      |  EINVAL   ENOTTY  EINVAL  EINVAL",
        "Intx    mask    ok    0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    unmask  -     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    unmask  1     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    unmask  0     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    unmask  -     0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    unmask  ok    0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    unmask  -1    0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    unmask  -2    0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    unmask  bad   0  1      |  EINVAL   EBADF   EINVAL  EINVAL",
        "Intx    unmask  file  0  1      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    unmask  bad   0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    trigger -     0  0      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    trigger 1     0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    trigger ok    0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    trigger -     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    trigger 1     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    trigger 0     0  1      |  EINVAL   0       EINVAL  EINVAL",
        "Intx    trigger ok    0  1      |  0        0       EINVAL  EINVAL",
        "Intx    trigger -1    0  1      |  0        0       EINVAL  EINVAL",
        "Intx    trigger -2    0  1      |  0        0       EINVAL  EINVAL",
        "Intx    trigger bad   0  1      |  EBADF    EBADF   EINVAL  EINVAL",
        "Intx    trigger file  0  1      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Msi     mask    -     0  1      |  ENOTTY   ENOTTY  ENOTTY  ENOTTY",
        "Msi     unmask  1     0  1      |  ENOTTY   ENOTTY  ENOTTY  ENOTTY",
        "Msi     mask    bad   0  1      |  ENOTTY   ENOTTY  ENOTTY  ENOTTY",
        "Msi     trigger -     0  0      |  EINVAL   EINVAL  0       EINVAL",
        "Msi     trigger -     3  0      |  EINVAL   EINVAL  0       EINVAL",
        "Msi     trigger 1     0  0      |  EINVAL   EINVAL  0       EINVAL",
        "Msi     trigger ok    0  0      |  ERANGE   EINVAL  0       EINVAL",
        "Msi     trigger ok    3  0      |  0        EINVAL  0       EINVAL",
        "Msi     trigger -     0  8      |  EINVAL   EINVAL  0       EINVAL",
        "Msi     trigger 1     0  8      |  EINVAL   EINVAL  0       EINVAL",
        "Msi     trigger 0     4  4      |  EINVAL   EINVAL  0       EINVAL",
        "Msi     trigger ok    0  4      |  0        EINVAL  0       EINVAL",
        "Msi     trigger -1    0  8      |  0        EINVAL  0       EINVAL",
        "Msi     trigger -2    0  8      |  0        EINVAL  0       EINVAL",
        "Msi     trigger ok    4  1      |  0        EINVAL  EINVAL  EINVAL",
        "Msi     trigger bad   0  1      |  EBADF    EINVAL  EBADF   EINVAL",
        "Msi     trigger bad   4  1      |  EBADF    EINVAL  EINVAL  EINVAL",
        "Msi     trigger file  0  1      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Msix    mask    -     0  1      |  ENOTTY   ENOTTY  ENOTTY  ENOTTY",
        "Msix    unmask  ok    0  1      |  ENOTTY   ENOTTY  ENOTTY  ENOTTY",
        "Msix    trigger -     0  0      |  EINVAL   EINVAL  EINVAL  0",
        "Msix    trigger 1     0  0      |  EINVAL   EINVAL  EINVAL  0",
        "Msix    trigger ok    0  0      |  ERANGE   EINVAL  EINVAL  0",
        "Msix    trigger -     0  16     |  EINVAL   EINVAL  EINVAL  0",
        "Msix    trigger 1     0  16     |  EINVAL   EINVAL  EINVAL  0",
        "Msix    trigger ok    0  4      |  0        EINVAL  EINVAL  0",
        "Msix    trigger -1    0  16     |  0        EINVAL  EINVAL  0",
        "Msix    trigger ok    4  1      |  0        EINVAL  EINVAL  EINVAL",
        "Msix    trigger bad   0  1      |  EBADF    EINVAL  EINVAL  EBADF",
        "Msix    trigger bad   4  1      |  EBADF    EINVAL  EINVAL  EINVAL",
        "Msix    trigger file  0  1      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Err     mask    -     0  1      |  ENOTTY   ENOTTY  ENOTTY  ENOTTY",
        "Err     unmask  ok    0  1      |  ENOTTY   ENOTTY  ENOTTY  ENOTTY",
        "Err     trigger -     0  1      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Err     trigger -     0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Err     trigger 1     0  1      |  0        0       0       0",
        "Err     trigger 0     0  1      |  0        0       0       0",
        "Err     trigger 1     0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Err     trigger ok    0  1      |  0        0       0       0",
        "Err     trigger -1    0  1      |  0        0       0       0",
        "Err     trigger -2    0  1      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Err     trigger ok    0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Err     trigger bad   0  1      |  EBADF    EBADF   EBADF   EBADF",
        "Err     trigger file  0  1      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Req     mask    -     0  1      |  ENOTTY   ENOTTY  ENOTTY  ENOTTY",
        "Req     trigger -     0  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Req     trigger 1     0  1      |  0        0       0       0",
        "Req     trigger ok    0  1      |  0        0       0       0",
        "Req     trigger -2    0  1      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Req     trigger bad   0  1      |  EBADF    EBADF   EBADF   EBADF",
        // vectors that the device has not
        "Intx    trigger -     1  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Intx    trigger ok    0  2      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Msi     trigger -     8  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Msi     trigger ok    7  2      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Msix    trigger ok    0  17     |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Err     trigger ok    1  0      |  EINVAL   EINVAL  EINVAL  EINVAL",
        "Req     trigger ok    0  2      |  EINVAL   EINVAL  EINVAL  EINVAL",
    ];

    private static readonly IrqIndex?[] States = [null, Intx, Msi, Msix];

    public static TheoryData<string, string, int> Cells => [.. Matrix.SelectMany(row =>
        States.Select((state, i) => (row.Split('|')[0].Trim(), state?.ToString() ?? "none", Expected(row.Split('|')[1].Split(' ', Words)[i]))))];

    private const StringSplitOptions Words = StringSplitOptions.RemoveEmptyEntries;

    [Theory]
    [MemberData(nameof(Cells))]
    public void Every_request_returns_in_every_state_what_the_table_says_IO_40_IO_41_IO_42_IO_47(string row, string state, int expected)
    {
        var interrupts = InState(Enum.TryParse<IrqIndex>(state, out var active) ? active : null);

        Assert.Equal(expected, interrupts.Set(Parse(row)).ReturnValue);
        Assert.Null(interrupts.BrokenInvariant());
    }

    /// <summary>Requests wrong in two ways: which is reported tells the order. EINVAL comes of validation, ENOTTY of the action.</summary>
    [Theory]
    [InlineData(5u, 0u, 1u, 1u | 8, Errno.EINVAL)]                      // no such index, and no such action there
    [InlineData(Huge, 0u, 1u, 1u | 32, Errno.EINVAL)]
    [InlineData(1u, 0u, Huge, 1u | 8, Errno.EINVAL)]                    // count ≥ 2³² - 1 - start
    [InlineData(1u, Huge, 0u, 1u | 8, Errno.EINVAL)]
    [InlineData(1u, Huge, Huge, 1u | 8, Errno.EINVAL)]
    [InlineData(1u, 1u, Huge - 1, 1u | 8, Errno.EINVAL)]                // start + count wraps round to 0
    [InlineData(1u, Huge - 1, 1u, 1u | 8, Errno.EINVAL)]
    [InlineData(1u, 0u, 1u, 1u | 8 | 64, Errno.EINVAL)]                 // a flag that is none
    [InlineData(1u, 0u, 1u, 1u | 8 | 0x80000000, Errno.EINVAL)]
    [InlineData(1u, 8u, 0u, 1u | 8, Errno.EINVAL)]                      // out of range
    [InlineData(1u, 0u, 9u, 1u | 8, Errno.EINVAL)]
    [InlineData(1u, 0u, 1u, 8u, Errno.EINVAL)]                          // no data type
    [InlineData(1u, 0u, 1u, 1u | 2 | 8, Errno.EINVAL)]                  // two of them
    [InlineData(1u, 0u, 1u, 7u | 8, Errno.EINVAL)]
    [InlineData(1u, 0u, 1u, 2u | 8, Errno.EINVAL)]                      // no data though its type asks for it
    [InlineData(1u, 0u, 1u, 4u | 8, Errno.EINVAL)]
    [InlineData(1u, 0u, 1u, 1u, Errno.ENOTTY)]                          // no action
    [InlineData(1u, 0u, 1u, 1u | 8 | 16, Errno.ENOTTY)]                 // two of them
    [InlineData(0u, 0u, 1u, 1u | 8 | 32, Errno.ENOTTY)]
    [InlineData(0u, 0u, 1u, 1u | 8 | 16 | 32, Errno.ENOTTY)]
    public void A_request_is_validated_before_its_action_is_looked_for_IO_40_IO_41(uint index, uint start, uint count, uint flags, Errno expected) =>
        Assert.Equal(expected, InState(Intx).Set(new SetIrqs(index, start, count, (IrqSetFlags)flags)).Error.Errno);

    [Theory]
    [InlineData(Intx)]
    [InlineData(Msi)]
    [InlineData(Msix)]
    public void An_index_with_count_0_refuses_everything_IO_40(IrqIndex index)
    {
        var interrupts = new InterruptingFunction().Open(pin: false, msi: 0, msix: 0);

        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.Trigger(index, 0, EventRef.Of(new FakeTarget()))).Error.Errno);
        Assert.Equal(Errno.EINVAL, interrupts.Set(Request.Disable(index)).Error.Errno);
    }

    [Theory]
    [InlineData(IrqSetFlags.DataBool)]
    [InlineData(IrqSetFlags.DataEventfd)]
    public void Data_for_fewer_vectors_than_count_is_EINVAL_and_changes_nothing_IO_40(IrqSetFlags data)
    {
        var function = new InterruptingFunction();
        var interrupts = function.Open();
        interrupts.Set(Request.Trigger(Msi, 0, EventRef.Of(new FakeTarget())));
        var before = function.Calls.Count;

        var set = interrupts.Set(new SetIrqs((uint)Msi, 0, 3, IrqSetFlags.ActionTrigger | data, new byte[2], new EventRef[2]));

        Assert.Equal(Errno.EINVAL, set.Error.Errno);
        Assert.Equal(before, function.Calls.Count);
    }

    [Fact]
    public void Data_beyond_count_is_ignored_IO_40()
    {
        var function = new InterruptingFunction();
        var request = Request.Trigger(Msix, 0, EventRef.Of(new FakeTarget()), Request.BadFd);

        Assert.True(function.Open().Set(request with { Count = 1 }).IsDone);
        Assert.Equal([0], function.Connected.Keys);
    }

    [Fact]
    public void Hostile_numbers_get_an_errno_and_allocate_nothing_IO_40()
    {
        var interrupts = InState(Msix);
        SetIrqs[] hostile =
        [
            .. from index in (uint[])[0, 1, 2, 3, 4, 5, Huge]
               from start in (uint[])[0, 1, 15, 16, int.MaxValue, Huge - 1, Huge]
               from count in (uint[])[17, int.MaxValue, 1u << 31, Huge - 1, Huge]
               from flags in (uint[])[0, 1 | 32, 2 | 32, 4 | 32, Huge]
               select new SetIrqs(index, start, count, (IrqSetFlags)flags, new byte[64], new EventRef[64]),
        ];
        interrupts.Set(hostile[0]);
        var before = GC.GetAllocatedBytesForCurrentThread();

        var done = 0;
        foreach (var request in hostile)
            done += interrupts.Set(request).Error.Errno == Errno.EINVAL ? 0 : 1;
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal((0, 0), (done, allocated));
    }

    private static DeviceInterrupts InState(IrqIndex? active)
    {
        var interrupts = new InterruptingFunction().Open();
        EventRef[] events = [EventRef.Of(new FakeTarget()), EventRef.Of(new FakeTarget()), EventRef.None, EventRef.Of(new FakeTarget())];
        if (active is { } index)
            Assert.True(interrupts.Set(Request.Trigger(index, 0, index == Intx ? events[..1] : events)).IsDone);
        Assert.Equal(active, interrupts.Active);
        return interrupts;
    }

    private static int Expected(string cell) => cell == "0" ? 0 : -(int)Enum.Parse<Errno>(cell);

    private static SetIrqs Parse(string row)
    {
        var word = row.Split(' ', Words);
        var count = uint.Parse(word[4]);
        var action = word[1] switch
        {
            "mask" => IrqSetFlags.ActionMask,
            "unmask" => IrqSetFlags.ActionUnmask,
            _ => IrqSetFlags.ActionTrigger,
        };
        var data = word[2] switch
        {
            "-" => IrqSetFlags.DataNone,
            "0" or "1" => IrqSetFlags.DataBool,
            _ => IrqSetFlags.DataEventfd,
        };
        var eventfd = word[2] switch
        {
            "-1" => EventRef.None,
            "-2" => new EventRef(-2, null),
            "bad" => Request.BadFd,
            "file" => Request.NoEventfd,
            _ => EventRef.Of(new FakeEventfd()),
        };
        return new SetIrqs(
            (uint)Enum.Parse<IrqIndex>(word[0]),
            uint.Parse(word[3]),
            count,
            action | data,
            Enumerable.Repeat((byte)(word[2] == "1" ? 1 : 0), (int)count).ToArray(),
            Enumerable.Repeat(eventfd, (int)count).ToArray());
    }
}
