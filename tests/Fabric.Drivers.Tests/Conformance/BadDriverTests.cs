using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Conformance;
using Fabric.Drivers.Mtty;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Tests.Conformance;

/// <summary>A small bad driver for each check of those that all drivers pass: it is found, and by that check.</summary>
public sealed class BadDriverTests
{
    // ---- Transparency and order ------------------------------------------------------------------------------------------------------

    [Fact]
    public Task A_driver_that_touches_the_device_at_what_it_gives_on_is_found() => IsFoundAsync(
        own => own.Take<GetIrqInfo>(info => own.Ask(
            new WriteRegion(info.Session, RegionIndex.Config, ConfigOffset.Command, new byte[2]), _ => own.Pass())),
        static bad => bad.What_it_does_not_take_over_is_answered_as_by_the_core_alone(), "GetIrqInfo");

    [Fact]
    public Task A_driver_that_takes_over_more_than_it_claims_is_found() => IsFoundAsync(
        own => own.Take<GetDeviceInfo>(info => own.Ask(info, own.Answer)),
        static bad => bad.What_it_does_not_take_over_is_answered_as_by_the_core_alone(), "takes nothing over");

    [Fact]
    public Task A_driver_that_mixes_up_the_order_is_found() => IsFoundAsync(
        own =>
        {
            var again = new HashSet<object>(ReferenceEqualityComparer.Instance);
            own.Around = message =>
            {
                // To the end of the line, once.
                if (message is not ReadRegion || !again.Add(message))
                    return true;
                own.SendAgain(message);
                return false;
            };
        },
        static bad => bad.What_it_gives_on_and_what_it_answers_keep_their_order(), "another order");

    // ---- One answer ------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task A_driver_that_answers_twice_past_the_kit_is_found() => IsFoundAsync(
        own => own.Take<GetDeviceInfo>(info =>
        {
            own.Asker.Tell(DeviceDone.Instance);
            own.Ask(info, own.Answer);
        }),
        static bad => bad.Every_request_has_one_answer_of_its_kind(), "was answered with DeviceDone");

    [Fact]
    public Task A_driver_that_answers_twice_only_later_is_found() => IsFoundAsync(
        own => own.Take<GetDeviceInfo>(info => own.Ask(info, reply =>
        {
            own.Answer(reply);
            own.Asker.Tell(reply);
        })),
        static bad => bad.Every_request_has_one_answer_of_its_kind(), "has 2 answers");

    [Fact]
    public Task A_driver_that_does_not_answer_is_found() => IsFoundAsync(
        own => own.Take<GetDeviceInfo>(static _ => { }), static bad => bad.Every_request_has_one_answer_of_its_kind(), "did not answer");

    [Fact]
    public Task A_driver_that_answers_another_question_is_found() => IsFoundAsync(
        own => own.Take<GetDeviceInfo>(_ => own.Answer(new RegionWritten(1))),
        static bad => bad.Every_request_has_one_answer_of_its_kind(), "was answered with RegionWritten");

    [Fact]
    public Task A_driver_that_acts_for_a_session_that_there_is_not_is_found() => IsFoundAsync(
        own => own.Take<DeviceIoctl>(_ => own.Answer(new DeviceIoctlDone(0, default))),
        static bad => bad.Every_request_has_one_answer_of_its_kind(), "of a session that there is not");

    // ---- Failures --------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task A_driver_that_is_of_no_use_after_it_failed_is_found()
    {
        var made = 0;
        return IsFoundAsync(
            own =>
            {
                if (++made > 1)
                    own.Take<ResetDevice>(_ => own.Answer(new DeviceFailed(Errno.EIO, "It has failed before.")));
            },
            static bad => bad.A_failure_of_the_driver_at_any_request_is_contained(), "It has failed before.");
    }

    [Fact]
    public Task A_driver_that_takes_every_answer_of_its_core_for_a_good_one_is_found() => IsFoundAsync(
        own => own.Take<GetDeviceInfo>(info => own.Ask(info, reply => own.Answer((DeviceInfoRead)reply))),
        static bad => bad.What_stands_behind_it_may_refuse_anything(), "driver-restarted");

    [Fact]
    public Task A_driver_that_a_failure_of_hardware_at_an_open_leaves_useless_is_found()
    {
        var broken = false;
        return IsFoundAsync(
            own =>
            {
                own.Take<OpenDevice>(open => own.Ask(open, opened => own.Ask(
                    new MapRegion(((DeviceOpened)opened).Session, MttyBar.Migration), mapped => Touch(own, opened, ((RegionMapped)mapped).Mapping))));
                own.Take<ResetDevice>(_ => broken, _ => own.Answer(new DeviceFailed(Errno.EIO, "It is broken.")));
            },
            static bad => bad.Hardware_that_fails_at_any_step_of_an_open_is_contained(), "It is broken.");

        void Touch(TestDriver own, DeviceReply opened, Vfio.Core.RegionMapping mapping)
        {
            try
            {
                mapping.Read(MttyMigration.Ports, new byte[4]);
            }
            catch (InvalidOperationException)
            {
                broken = true;
            }

            own.Answer(opened);
        }
    }

    // ---- Ends ------------------------------------------------------------------------------------------------------------------------

    [Fact]
    public Task A_driver_that_keeps_a_session_open_is_found() => IsFoundAsync(
        own => own.Take<CloseDevice>(_ => own.Answer(DeviceDone.Instance)), static bad => bad.What_a_session_had_ends_with_it(), "");

    [Fact]
    public async Task A_driver_that_migrates_and_is_not_tried_as_one_is_found() => Assert.Contains(
        "derive from MigratingDriverConformance",
        (await Assert.ThrowsAsync<NotConformantException>(new Tried(MttyDriver.Registration).A_driver_that_migrates_is_tried_as_one)).Message,
        StringComparison.Ordinal);

    [Fact]
    public async Task A_driver_that_is_not_bad_is_not_found()
    {
        var good = new Tried(TestDriver.Registration(static _ => { }));
        await good.What_it_does_not_take_over_is_answered_as_by_the_core_alone();
        await good.Every_request_has_one_answer_of_its_kind();
    }

    private static async Task IsFoundAsync(Action<TestDriver> script, Func<DriverConformance, Task> check, string saying)
    {
        var found = await Assert.ThrowsAsync<NotConformantException>(() => check(new Tried(TestDriver.Registration(script))));
        Assert.Contains(saying, found.Message, StringComparison.Ordinal);
    }

    private sealed class Tried(DriverRegistration registration) : DriverConformance
    {
        protected override DriverRegistration Registration => registration;

        protected override bool TakesNothingOver => true;

        protected override TestedDevice Create(TimeProvider time) => MttyConformanceTests.Card(ports: 2);
    }
}

/// <summary>A driver of the serial card that a test writes where it needs it.</summary>
internal sealed class TestDriver : VariantDriver
{
    public TestDriver(DriverContext context, Action<TestDriver> script)
        : base(context) => script(this);

    public IActorRef Asker => Requester;

    /// <summary>Whether a message is handled now.</summary>
    public Func<object, bool> Around { get; set; } = static _ => true;

    public static DriverRegistration Registration(Action<TestDriver> script) => new(
        "test", new PciIds(MttyIds.Vendor, MttyIds.Device), null, context => Props.Create(() => new TestDriver(context, script)));

    public void Take<T>(Action<T> handle)
        where T : DeviceRequest => On(handle);

    public void Take<T>(Func<T, bool> when, Action<T> handle)
        where T : DeviceRequest => On(when, handle);

    public void Answer(DeviceReply reply) => Reply(reply);

    public void Pass() => Forward();

    public void Ask(DeviceRequest request, Action<DeviceReply> then) => AskCore(request, then);

    public void SendAgain(object message) => Self.Tell(message, Sender);

    protected override bool AroundReceive(Receive receive, object message) => !Around(message) || base.AroundReceive(receive, message);
}
