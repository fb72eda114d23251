using Fabric.Pci;
using Fabric.Pci.Recovery;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class ErrorTests
{
    [Fact]
    public void The_core_has_no_other_callback_of_recovery_than_error_detected_ER_2_ER_3() =>
        Assert.Equal(
            [nameof(VfioPciCore.ErrorDetected)],
            typeof(VfioPciCore).GetMethods().Where(method => method.ReturnType == typeof(RecoveryVote)).Select(method => method.Name));

    [Fact]
    public void An_error_touches_neither_the_function_nor_the_session_ER_1()
    {
        var function = Card.Physical();
        var core = Card.Open(function);
        var mapping = core.Map(CardFunction.MemoryBar).Value;
        function.Calls.Clear();

        core.ErrorDetected();

        Assert.Empty(function.Calls);
        Assert.True(core.IsOpen);
        Assert.True(mapping.Read(0, new byte[1]).IsOk);
        core.Healthy();
    }

    [Fact]
    public void Whoever_is_told_by_ERR_is_voted_CAN_RECOVER_for_INV_9()
    {
        var core = Card.Open(Card.Physical());
        var err = new FakeTarget();
        core.SetTrigger(IrqIndex.Err, err);

        var votes = Enumerable.Range(0, 5).Select(_ => core.ErrorDetected()).ToArray();

        Assert.Equal(5, err.Signals);
        Assert.All(votes, vote => Assert.Equal(RecoveryVote.CanRecover, vote));
    }

    [Fact]
    public void After_a_link_reset_behind_its_back_a_COMMAND_write_puts_the_BARs_back_ER_10_CF_11()
    {
        var function = Card.Physical();
        var core = Card.Open(function);
        function.LoseEverything();

        core.WriteCommand(PciCommand.MemorySpace);

        Assert.Equal(0xfeb0, function.Get16(ConfigOffset.Bar0 + 2));
        Assert.True(core.Read(CardFunction.MemoryBar, 0, new byte[4]).IsOk);
        Assert.Empty(function.Violations);
    }
}
