using Akka.Actor;
using Akka.TestKit;
using Fabric.Devices.Drivers;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Devices.Tests;

/// <summary>The kit's words, each by itself and with others: what a driver registers in a line, and what its user and its core see of it.</summary>
public sealed class DriverWordsTests : DriverTest
{
    private static readonly DeviceFailed Refusal = new(Errno.EPERM, "The core does not.");

    // ---- Looking on ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_a_driver_observes_goes_on_untouched_from_its_requester()
    {
        var seen = new List<DeviceRequest>();
        var driver = Driver(own => own.See<GetDeviceInfo>(seen.Add));
        var request = new GetDeviceInfo(Session);

        client.Send(driver, new GetIrqInfo(Session, 0));
        client.Send(driver, request);

        await NextAsync<GetIrqInfo>(core);
        Assert.Same(request, await NextAsync<GetDeviceInfo>(core));
        Assert.Equal(client.Ref, core.LastSender);
        Assert.Equal([request], seen);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_a_driver_observes_and_takes_it_sees_first_whichever_it_registered_first(bool observesFirst)
    {
        var log = new List<string>();
        var driver = Driver(own =>
        {
            if (observesFirst)
                own.See<GetDeviceInfo>(_ => log.Add("seen"));
            own.Take<GetDeviceInfo>(_ =>
            {
                log.Add("taken");
                own.Answer(new DeviceInfoRead(Info));
            });
            if (!observesFirst)
                own.See<GetDeviceInfo>(_ => log.Add("seen"));
        });

        client.Send(driver, new GetDeviceInfo(Session));

        await NextAsync<DeviceInfoRead>(client);
        Assert.Equal(["seen", "taken"], log);
    }

    [Fact]
    public async Task Who_observes_all_sees_every_request_once_in_order_and_changes_nothing()
    {
        var seen = new List<DeviceRequest>();
        var driver = Driver(own =>
        {
            own.SeeAll(seen.Add);
            own.Take<ResetDevice>(reset => own.Ask(reset, own.Answer));
        });
        DeviceRequest[] sent = [new GetDeviceInfo(Session), new ResetDevice(Session), new GetIrqInfo(Session, 0), new SetVirtualFunctions(1)];
        foreach (var request in sent)
            client.Send(driver, request);

        Assert.Same(sent[0], await NextAsync<GetDeviceInfo>(core));
        // What waits its turn is seen when it has it.
        var call = await NextAsync<CoreCall>(core);
        Assert.Equal(sent[..2], seen);
        core.Reply(new CoreReplied(call.Number, DeviceDone.Instance));
        Assert.Same(sent[2], await NextAsync<GetIrqInfo>(core));
        Assert.Same(sent[3], await NextAsync<SetVirtualFunctions>(core));
        Assert.Equal(sent, seen);
    }

    [Fact]
    public async Task A_driver_that_throws_while_it_observes_costs_its_requester_one_EIO()
    {
        var driver = Driver(own => own.SeeAll(static request =>
        {
            if (request is GetDeviceInfo)
                throw new InvalidOperationException("bad luck");
        }));

        client.Send(driver, new GetDeviceInfo(Session));

        Assert.Contains("bad luck", (await NextAsync<DeviceFailed>(client)).Error.Sentence, StringComparison.Ordinal);
        await AssertNothingMoreAsync(driver);
    }

    // ---- Rewriting -------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_request_that_is_rewritten_reaches_the_core_in_place_of_the_one_that_came()
    {
        var driver = Driver(own => own.Change<ReadRegion>(read => read with { Region = 2 }));

        client.Send(driver, new ReadRegion(Session, 0, 4, 8));

        Assert.Equal(new ReadRegion(Session, 2, 4, 8), await NextAsync<ReadRegion>(core));
        Assert.Equal(client.Ref, core.LastSender);
    }

    [Fact]
    public async Task A_request_can_be_rewritten_to_one_of_another_kind()
    {
        var driver = Driver(own => own.Change<DeviceIoctl>(ioctl => new ResetDevice(ioctl.Session)));

        client.Send(driver, new DeviceIoctl(Session, 1, default));

        Assert.Equal(new ResetDevice(Session), await NextAsync<ResetDevice>(core));
    }

    [Fact]
    public async Task An_answer_that_is_rewritten_is_made_of_the_cores()
    {
        var driver = Driver(own => own.ChangeReply<ReadRegion, RegionRead>(static (read, reply) => new RegionRead(reply.Data[..(read.Length / 2)])));
        client.Send(driver, new ReadRegion(Session, 0, 0, 4));

        await AnswerAsync<ReadRegion>(new RegionRead(new byte[4]));

        Assert.Equal(2, (await NextAsync<RegionRead>(client)).Data.Length);
    }

    [Fact]
    public async Task A_refusal_of_the_core_goes_through_untouched_where_its_answer_would_be_rewritten()
    {
        var driver = Driver(own => own.ChangeReply<GetDeviceInfo, DeviceInfoRead>(
            static (_, _) => throw new InvalidOperationException("It was asked.")));
        client.Send(driver, new GetDeviceInfo(Session));

        await AnswerAsync<GetDeviceInfo>(Refusal);

        Assert.Same(Refusal, await NextAsync<DeviceFailed>(client));
    }

    [Fact]
    public async Task An_answer_can_be_rewritten_to_a_refusal()
    {
        var driver = Driver(own => own.ChangeReply<GetDeviceInfo, DeviceInfoRead>(static (_, _) => Refusal));
        client.Send(driver, new GetDeviceInfo(Session));

        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info));

        Assert.Same(Refusal, await NextAsync<DeviceFailed>(client));
    }

    [Fact]
    public async Task Several_changes_of_an_answer_are_all_made_in_their_order()
    {
        var driver = Driver(own =>
        {
            own.ChangeReply<GetDeviceInfo, DeviceInfoRead>(static (_, read) => new DeviceInfoRead(read.Info with { Irqs = read.Info.Irqs + 1 }));
            own.ChangeReply<GetDeviceInfo, DeviceInfoRead>(static (_, read) => new DeviceInfoRead(read.Info with { Irqs = read.Info.Irqs * 2 }));
        });
        client.Send(driver, new GetDeviceInfo(Session));

        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info));

        Assert.Equal((Info.Irqs + 1) * 2, (await NextAsync<DeviceInfoRead>(client)).Info.Irqs);
    }

    // ---- Taking over, several times --------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Of_several_that_take_over_a_kind_the_last_whose_condition_holds_has_it_and_none_leaves_it_to_the_core()
    {
        var driver = Driver(own =>
        {
            own.Take<ReadRegion>(static read => read.Region < 3, _ => own.Answer(new RegionRead(new byte[1])));
            own.Take<ReadRegion>(static read => read.Region < 2, _ => own.Answer(new RegionRead(new byte[2])));
            own.Take<ReadRegion>(static read => read.Region < 1, _ => own.Answer(new RegionRead(new byte[3])));
        });
        var lengths = new List<int>();
        for (var region = 0; region < 3; region++)
        {
            client.Send(driver, new ReadRegion(Session, region, 0, 1));
            lengths.Add((await NextAsync<RegionRead>(client)).Data.Length);
        }

        client.Send(driver, new ReadRegion(Session, 3, 0, 1));

        Assert.Equal([3, 2, 1], lengths);
        await NextAsync<ReadRegion>(core);
    }

    [Fact]
    public async Task Who_takes_a_request_over_may_still_give_it_on()
    {
        var request = new GetDeviceInfo(Session);
        client.Send(Driver(own => own.Take<GetDeviceInfo>(_ => own.Pass())), request);

        Assert.Same(request, await NextAsync<GetDeviceInfo>(core));
        Assert.Equal(client.Ref, core.LastSender);
    }

    // ---- Hiding ----------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_hidden_operation_is_ENOTTY_with_what_to_do_and_does_not_reach_the_core()
    {
        var driver = Driver(own => own.Lack<GetDmaBuf>("Map it."));

        client.Send(driver, new GetDmaBuf(Session, 0, []));

        Assert.Equal(new VfioError(Errno.ENOTTY, "Map it."), (await NextAsync<DeviceFailed>(client)).Error);
        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task A_hidden_region_is_shown_empty_and_everything_else_at_it_is_EINVAL()
    {
        var driver = Driver(own =>
        {
            own.LackRegion(2);
            own.LackRegion(4);
        });
        foreach (var region in new[] { 2, 4 })
        {
            Assert.Equal(
                new RegionInfo(region, RegionFlags.None, 0), (await AskAsync<RegionInfoRead>(driver, new GetRegionInfo(Session, region))).Info);
            DeviceRequest[] all =
                [new ReadRegion(Session, region, 0, 1), new WriteRegion(Session, region, 0, new byte[1]), new MapRegion(Session, region)];
            foreach (var request in all)
                Assert.Equal(Errno.EINVAL, (await RefusedAsync(driver, request)).Errno);
        }

        client.Send(driver, new MapRegion(Session, 3));
        Assert.Equal(3, (await NextAsync<MapRegion>(core)).Region);
    }

    // ---- Waiting ---------------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task While_a_driver_waits_everything_else_waits_too_and_then_goes_in_order()
    {
        var log = new List<string>();
        var driver = Driver(own =>
        {
            own.Take<ResetDevice>(_ => own.Wait(TimeSpan.FromSeconds(1), () =>
            {
                log.Add("answered");
                own.Answer(DeviceDone.Instance);
            }));
            own.WasReset = _ => log.Add("reset");
            own.Closed = _ => log.Add("closed");
            own.Heard = _ => log.Add("heard");
            own.SeeAll(request => log.Add(request.GetType().Name));
        });
        client.Send(driver, new ResetDevice(Session));
        core.Send(driver, new FunctionWasReset(VfioResult.Ok));
        client.Send(driver, new GetDeviceInfo(Session));
        core.Send(driver, new Own(1));
        core.Send(driver, new SessionClosed(Session, "somebody", "it ended"));
        await SettleAsync(driver);
        Assert.Equal(["ResetDevice"], log);
        Timers.Advance(TimeSpan.FromMilliseconds(999));
        await SettleAsync(driver);
        Assert.Equal(["ResetDevice"], log);

        Timers.Advance(TimeSpan.FromMilliseconds(1));

        await NextAsync<DeviceDone>(client);
        await NextAsync<GetDeviceInfo>(core);
        await SettleAsync(driver);
        Assert.Equal(["ResetDevice", "answered", "reset", "GetDeviceInfo", "heard", "closed"], log);
    }

    [Fact]
    public async Task A_driver_may_wait_again_and_again_and_ask_in_between()
    {
        var driver = Driver(own => own.Take<ResetDevice>(reset => own.Wait(TimeSpan.FromSeconds(1), () =>
            own.Ask(reset, reply => own.Wait(TimeSpan.FromSeconds(2), () => own.Answer(reply))))));
        client.Send(driver, new ResetDevice(Session));
        await SettleAsync(driver);

        Timers.Advance(TimeSpan.FromSeconds(1));
        await AnswerAsync<ResetDevice>(DeviceDone.Instance);
        await SettleAsync(driver);
        Assert.False(client.HasMessages);
        Timers.Advance(TimeSpan.FromSeconds(2));

        await NextAsync<DeviceDone>(client);
    }

    [Fact]
    public async Task A_driver_that_waits_is_answered_for_when_it_is_stopped()
    {
        var driver = Driver(own => own.Take<ResetDevice>(_ => own.Wait(TimeSpan.FromHours(1), () => own.Answer(DeviceDone.Instance))));
        client.Send(driver, new ResetDevice(Session));
        await SettleAsync(driver);

        Sys.Stop(driver);

        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(client)).Error.Errno);
    }

    [Fact]
    public async Task A_delay_of_a_driver_that_failed_meanwhile_does_not_reach_its_successor()
    {
        var driver = Driver(own =>
        {
            own.Take<ResetDevice>(_ => own.Wait(TimeSpan.FromSeconds(1), () => own.Answer(new RegionWritten(1))));
            own.Show = static () => throw new InvalidOperationException("bad luck");
        });
        client.Send(driver, new ResetDevice(Session));
        // Shown at once, whatever it waits for.
        driver.Tell(InspectPart.Instance);
        Assert.Equal(Errno.EIO, (await NextAsync<DeviceFailed>(client)).Error.Errno);

        Timers.Advance(TimeSpan.FromSeconds(1));

        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task What_a_fenced_driver_is_asked_of_its_VFs_waits_its_turn_and_each_gets_its_own_answer()
    {
        var driver = Driver(own =>
        {
            own.Take<GetDeviceInfo>(info => own.Ask(info, own.Answer));
            own.Take<SetVirtualFunctions>(set => own.Ask(set, own.Answer));
        });
        client.Send(driver, new GetDeviceInfo(Session));
        var first = await NextAsync<CoreCall>(core);
        driver.Tell(new FenceDevice(new VfioError(Errno.EIO, "It is out of service.")));
        var operators = CreateTestProbe();
        operators.Send(driver, new SetVirtualFunctions(0));
        core.Send(driver, new FunctionWasReset(VfioResult.Ok));

        core.Send(driver, new CoreReplied(first.Number, new DeviceInfoRead(Info)));
        await AnswerAsync<SetVirtualFunctions>(new VirtualFunctionsSet(new SriovChange(0, [])));

        await NextAsync<DeviceInfoRead>(client);
        await NextAsync<VirtualFunctionsSet>(operators);
    }

    // ---- Messages of its own ---------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_message_of_its_own_comes_in_its_turn_and_goes_nowhere_else()
    {
        var heard = new List<DriverMessage>();
        var driver = Driver(own =>
        {
            own.Heard = heard.Add;
            own.Take<GetDeviceInfo>(info => own.Ask(info, own.Answer));
        });
        driver.Tell(new Own(1));
        client.Send(driver, new GetDeviceInfo(Session));
        driver.Tell(new Own(2));
        await SettleAsync(driver);
        Assert.Equal([new Own(1)], heard);

        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info));

        await NextAsync<DeviceInfoRead>(client);
        await AssertNothingMoreAsync(driver);
        Assert.Equal([new Own(1), new Own(2)], heard);
    }

    [Fact]
    public async Task At_a_message_of_its_own_a_driver_may_wait_and_ask_and_others_wait_for_it()
    {
        var told = CreateTestProbe();
        var driver = Driver(own => own.Heard = _ => own.Ask(new GetDeviceInfo(Session), reply => told.Ref.Tell(reply)));
        driver.Tell(new Own(1));
        client.Send(driver, new GetIrqInfo(Session, 0));

        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info));

        await NextAsync<DeviceInfoRead>(told);
        await NextAsync<GetIrqInfo>(core);
    }

    // ---- Adding: capabilities and features -------------------------------------------------------------------------------------------

    [Fact]
    public async Task Capabilities_that_a_driver_adds_come_after_those_that_there_are_IO_10()
    {
        RawCapability[] capabilities = [new(1, 1, new byte[] { 1 }), new(2, 1, new byte[] { 2 }), new(3, 1, new byte[] { 3 })];
        var driver = Driver(own =>
        {
            own.Have(capabilities[1]);
            own.Have(capabilities[2]);
        });
        client.Send(driver, new GetDeviceInfo(Session));
        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info with { Flags = DeviceFlags.Pci | DeviceFlags.Caps, Caps = [capabilities[0]] }));

        var with = (await NextAsync<DeviceInfoRead>(client)).Info;
        client.Send(driver, new GetDeviceInfo(Session));
        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info));
        var without = (await NextAsync<DeviceInfoRead>(client)).Info;

        Assert.Equal(capabilities, with.Caps);
        Assert.Equal((DeviceFlags.Pci | DeviceFlags.Caps, 9), (without.Flags, without.Regions));
        Assert.Equal(capabilities[1..], without.Caps);
    }

    [Fact]
    public async Task A_feature_that_a_driver_adds_is_found_and_used_and_another_falls_through_IO_80()
    {
        var driver = Driver(own => own.Have(99, FeatureOperations.Get, static used => VfioResult.Of<ReadOnlyMemory<byte>>(new byte[] { 1, 2 })));

        Assert.Equal(FeatureOperations.Get, (await AskAsync<FeatureFound>(driver, new FindFeature(Session, (CoreFeature)99))).Operations);
        client.Send(driver, new UseFeature(Session, 99, FeatureOperations.Get, default));
        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info));
        Assert.Equal(2, (await NextAsync<FeatureUsed>(client)).Payload.Length);

        client.Send(driver, new UseFeature(Session, 98, FeatureOperations.Get, default));
        await NextAsync<UseFeature>(core);
        client.Send(driver, new FindFeature(Session, (CoreFeature)98));
        await NextAsync<FindFeature>(core);
    }

    [Theory]
    [InlineData(FeatureOperations.Set, Errno.EINVAL)]
    [InlineData(FeatureOperations.Get, Errno.ERANGE)]
    public async Task A_feature_refuses_what_it_has_not_and_what_its_driver_refuses_IO_80(FeatureOperations operation, Errno errno)
    {
        var driver = Driver(own => own.Have(99, FeatureOperations.Get, static _ => new VfioError(Errno.ERANGE, "The driver does not.")));

        client.Send(driver, new UseFeature(Session, 99, operation, default));
        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info));

        Assert.Equal(errno, (await NextAsync<DeviceFailed>(client)).Error.Errno);
    }

    [Fact]
    public async Task A_feature_of_a_session_that_is_closed_is_the_cores_refusal_and_the_driver_is_not_asked()
    {
        var driver = Driver(own => own.Have(99, FeatureOperations.Set, static _ => throw new InvalidOperationException("It was asked.")));

        client.Send(driver, new UseFeature(Session, 99, FeatureOperations.Set, default));
        await AnswerAsync<GetDeviceInfo>(new DeviceFailed(Errno.ENODEV, "It is closed."));

        Assert.Equal(Errno.ENODEV, (await NextAsync<DeviceFailed>(client)).Error.Errno);
    }

    // ---- Adding: regions -------------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(9)]
    [InlineData(11)]
    public async Task Regions_that_a_driver_adds_come_after_those_behind_it_and_are_read_and_written_there(int behind)
    {
        LabRegion[] regions = [new(0x10), new(0x20)];
        var driver = Driver(own => Array.ForEach(regions, own.Have));
        core.SetAutoPilot(new Behind(Info with { Regions = behind }));

        Assert.Equal(behind + 2, (await AskAsync<DeviceInfoRead>(driver, new GetDeviceInfo(Session))).Info.Regions);
        for (var number = 0; number < 2; number++)
        {
            var told = (await AskAsync<RegionInfoRead>(driver, new GetRegionInfo(Session, behind + number))).Info;
            Assert.Equal((behind + number, regions[number].Size), (told.Index, told.Size));
            Assert.Equal(
                2, (await AskAsync<RegionWritten>(driver, new WriteRegion(Session, behind + number, 4, new byte[] { 7, (byte)number }))).Length);
            Assert.Equal([7, (byte)number], (await AskAsync<RegionRead>(driver, new ReadRegion(Session, behind + number, 4, 2))).Data.ToArray());
            Assert.Equal(Errno.EINVAL, (await RefusedAsync(driver, new MapRegion(Session, behind + number))).Errno);
        }

        // Before the first and after the last it is another's.
        foreach (var other in new[] { behind - 1, behind + 2 })
        {
            client.Send(driver, new GetRegionInfo(Session, other));
            client.Send(driver, new ReadRegion(Session, other, 0, 1));
            Assert.Equal(other, (await UntilAsync<GetRegionInfo>(core, static _ => true)).Index);
            Assert.Equal(other, (await UntilAsync<ReadRegion>(core, static _ => true)).Region);
        }
    }

    [Fact]
    public async Task A_region_past_its_end_or_over_what_a_message_carries_is_EINVAL_IO_111()
    {
        var driver = Driver(static own => own.Have(new LabRegion(0x10)));
        core.SetAutoPilot(new Behind(Info));

        Assert.Equal(Errno.EINVAL, (await RefusedAsync(driver, new ReadRegion(Session, 9, 0x10, 1))).Errno);
        Assert.Equal(Errno.EINVAL, (await RefusedAsync(driver, new ReadRegion(Session, 9, ulong.MaxValue, 1))).Errno);
        Assert.Equal(Errno.EINVAL, (await RefusedAsync(driver, new ReadRegion(Session, 9, 0, DeviceLimits.MaxTransfer + 1))).Errno);
        Assert.Equal(Errno.EINVAL, (await RefusedAsync(driver, new ReadRegion(Session, 9, 0, -1))).Errno);
        Assert.Equal(4, (await AskAsync<RegionRead>(driver, new ReadRegion(Session, 9, 0xc, 8))).Data.Length);
    }

    [Fact]
    public async Task A_region_keeps_its_index_when_its_driver_is_made_anew_and_asked_for_nothing_else_first()
    {
        var region = new LabRegion(0x10);
        var driver = Driver(own =>
        {
            own.Have(region);
            own.Take<ResetDevice>(static _ => throw new InvalidOperationException("bad luck"));
        });
        core.SetAutoPilot(new Behind(Info with { Regions = 10 }));
        await AskAsync<RegionWritten>(driver, new WriteRegion(Session, 10, 0, new byte[] { 5 }));
        await RefusedAsync(driver, new ResetDevice(Session));

        Assert.Equal([5], (await AskAsync<RegionRead>(driver, new ReadRegion(Session, 10, 0, 1))).Data.ToArray());
    }

    [Fact]
    public async Task A_region_of_a_session_that_is_closed_is_the_cores_refusal_and_is_not_touched()
    {
        var region = new LabRegion(0x10);
        var driver = Driver(own => own.Have(region));
        core.SetAutoPilot(new Behind(Info));
        await AskAsync<RegionRead>(driver, new ReadRegion(Session, 9, 0, 1));

        core.SetAutoPilot(new Behind(null));

        Assert.Equal(Errno.ENODEV, (await RefusedAsync(driver, new WriteRegion(Session, 9, 0, new byte[] { 5 }))).Errno);
        Assert.Equal(0, region.Bytes[0]);
    }

    [Fact]
    public async Task A_region_is_released_when_the_device_is_closed_and_not_with_an_earlier_session_LC_31()
    {
        var region = new LabRegion(0x10);
        var driver = Driver(own => own.Have(region));
        driver.Tell(new SessionClosed(Session, "somebody", "one of two") { IsLast = false });
        await SettleAsync(driver);
        Assert.Equal(0, region.Released);

        driver.Tell(new SessionClosed(new SessionId(8), "somebody", "the other"));

        await SettleAsync(driver);
        Assert.Equal(1, region.Released);
    }

    [Fact]
    public async Task Regions_capabilities_and_changed_answers_go_together_in_any_order()
    {
        var capability = new RawCapability(1, 1, new byte[] { 1 });
        var driver = Driver(own =>
        {
            own.Have(capability);
            own.ChangeReply<GetDeviceInfo, DeviceInfoRead>(static (_, read) => new DeviceInfoRead(read.Info with { Irqs = 3 }));
            own.Have(new LabRegion(0x10));
            own.See<GetDeviceInfo>(static _ => { });
        });
        client.Send(driver, new GetDeviceInfo(Session));
        await AnswerAsync<GetDeviceInfo>(new DeviceInfoRead(Info));

        var told = (await NextAsync<DeviceInfoRead>(client)).Info;

        Assert.Equal((10, 3, DeviceFlags.Pci | DeviceFlags.Caps), (told.Regions, told.Irqs, told.Flags));
        Assert.Equal([capability], told.Caps);
    }

    // ---- Sessions that nobody would close --------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("throws")]
    [InlineData("does not answer")]
    [InlineData("refuses")]
    public async Task A_session_that_a_driver_opened_and_does_not_give_to_its_requester_is_closed(string what)
    {
        var driver = Driver(own => own.Take<OpenDevice>(open => own.Ask(open, _ =>
        {
            if (what == "throws")
                throw new InvalidOperationException("bad luck");
            if (what == "refuses")
                own.Answer(Refusal);
        })));
        client.Send(driver, new OpenDevice("somebody", client));

        await AnswerAsync<OpenDevice>(new DeviceOpened(Session));

        await NextAsync<DeviceFailed>(client);
        Assert.Equal(Session, (await NextAsync<CloseDevice>(core)).Session);
        await AssertNothingMoreAsync(driver);
    }

    [Fact]
    public async Task A_session_that_a_driver_closes_itself_is_closed_once()
    {
        var driver = Driver(own => own.Take<OpenDevice>(open => own.Ask(open, reply =>
            own.Ask(new CloseDevice(((DeviceOpened)reply).Session), _ => own.Answer(Refusal)))));
        client.Send(driver, new OpenDevice("somebody", client));
        await AnswerAsync<OpenDevice>(new DeviceOpened(Session));

        await AnswerAsync<CloseDevice>(DeviceDone.Instance);

        await NextAsync<DeviceFailed>(client);
        client.Send(driver, new GetIrqInfo(Session, 3));
        await NextAsync<GetIrqInfo>(core);
    }

    [Fact]
    public async Task A_session_that_the_core_opens_too_late_is_closed()
    {
        var driver = Driver(own => own.Take<OpenDevice>(open => own.Ask(open, own.Answer)));
        client.Send(driver, new OpenDevice("somebody", client));
        var call = await NextAsync<CoreCall>(core);
        Timers.Advance(TimeSpan.FromSeconds(10));
        await NextAsync<DeviceFailed>(client);

        core.Send(driver, new CoreReplied(call.Number, new DeviceOpened(Session)));

        Assert.Equal(Session, (await NextAsync<CloseDevice>(core)).Session);
    }

    [Fact]
    public async Task A_session_that_is_given_to_its_requester_stays_open_when_the_driver_fails_then()
    {
        var driver = Driver(own => own.Take<OpenDevice>(open => own.Ask(open, reply =>
        {
            own.Answer(reply);
            throw new InvalidOperationException("bad luck");
        })));
        client.Send(driver, new OpenDevice("somebody", client));
        await AnswerAsync<OpenDevice>(new DeviceOpened(Session));

        await NextAsync<DeviceOpened>(client);
        client.Send(driver, new GetIrqInfo(Session, 3));
        await NextAsync<GetIrqInfo>(core);
    }

    private sealed record Own(int Number) : DriverMessage;

    /// <summary>A core that knows of its sessions, and lets everything else lie.</summary>
    private sealed class Behind(DeviceInfo? info) : AutoPilot
    {
        public override AutoPilot Run(IActorRef sender, object message)
        {
            if (message is CoreCall { Request: GetDeviceInfo } call)
                sender.Tell(new CoreReplied(
                    call.Number, info is { } told ? new DeviceInfoRead(told) : new DeviceFailed(Errno.ENODEV, "It is closed.")));
            return this;
        }
    }
}

/// <summary>A region of a driver's own, in memory.</summary>
internal sealed class LabRegion(int size) : IDeviceRegion
{
    public byte[] Bytes { get; } = new byte[size];

    public int Released { get; private set; }

    public uint Type => 0x1234;

    public uint Subtype => (uint)size;

    public ulong Size => (ulong)Bytes.Length;

    public RegionFlags Flags => RegionFlags.Read | RegionFlags.Write;

    public VfioResult<int> Read(ulong offset, Span<byte> destination)
    {
        if (offset >= Size)
            return new VfioError(Errno.EINVAL, "Past the end.");
        var length = (int)Math.Min((ulong)destination.Length, Size - offset);
        Bytes.AsSpan((int)offset, length).CopyTo(destination);
        return length;
    }

    public VfioResult<int> Write(ulong offset, ReadOnlySpan<byte> source)
    {
        source.CopyTo(Bytes.AsSpan((int)offset));
        return source.Length;
    }

    public void Release() => Released++;
}
