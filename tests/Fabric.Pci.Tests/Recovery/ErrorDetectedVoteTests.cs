using Fabric.Pci.Recovery;

namespace Fabric.Pci.Tests.Recovery;

public sealed class ErrorDetectedVoteTests
{
    [Fact]
    public void A_function_that_is_gone_votes_Disconnect_and_its_driver_is_not_asked() =>
        Assert.Equal(RecoveryVote.Disconnect, Vote(disconnected: true, stored: ChannelState.PermanentFailure, hasCallback: true));

    [Theory]
    [InlineData(ChannelState.Normal)]
    [InlineData(ChannelState.Frozen)]
    public void A_function_whose_channel_may_not_change_votes_None(ChannelState announced) =>
        Assert.Equal(RecoveryVote.None, Vote(stored: ChannelState.PermanentFailure, announced: announced, hasCallback: true));

    [Theory]
    [InlineData(ChannelState.Normal, ChannelState.Normal)]
    [InlineData(ChannelState.Normal, ChannelState.Frozen)]
    [InlineData(ChannelState.Frozen, ChannelState.Normal)]
    [InlineData(ChannelState.Frozen, ChannelState.Frozen)]
    [InlineData(ChannelState.Normal, ChannelState.PermanentFailure)]
    [InlineData(ChannelState.PermanentFailure, ChannelState.PermanentFailure)]
    public void A_driver_with_the_callback_is_asked_when_the_channel_may_change(ChannelState stored, ChannelState announced) =>
        Assert.Null(Vote(stored: stored, announced: announced, hasCallback: true));

    [Fact]
    public void A_function_without_the_callback_votes_NoAerDriver_ER_12() =>
        Assert.Equal(RecoveryVote.NoAerDriver, Vote(hasCallback: false));

    [Fact]
    public void A_bridge_without_the_callback_votes_None() =>
        Assert.Equal(RecoveryVote.None, Vote(hasCallback: false, isBridge: true));

    [Fact]
    public void A_bridge_with_the_callback_is_asked() => Assert.Null(Vote(hasCallback: true, isBridge: true));

    private static RecoveryVote? Vote(
        bool disconnected = false,
        ChannelState stored = ChannelState.Normal,
        ChannelState announced = ChannelState.Frozen,
        bool hasCallback = false,
        bool isBridge = false) =>
        ErrorDetectedVote.WithoutDriver(disconnected, stored, announced, hasCallback, isBridge);
}
