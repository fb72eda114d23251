using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Migration.Hosts;
using Fabric.Pci;
using Fabric.Vfio.Migration;

namespace Fabric.Migration.Tests.Hosts;

public sealed class TargetPlannerTests
{
    private const string First = "fab0:01:00.1";
    private const string Second = "fab0:01:00.2";

    private static readonly DeviceStatus Free = new(
        PciAddress.Parse(First), new PciIds(0x1b36, 0xfab1), "accelerator", Physical: false, "accelerator-vf", DeviceState.Closed, DeviceHealth.Healthy,
        Migration: null, Holder: null, StateBytes: 4096, IommuGroup: null, PhysicalFunction: null, ResetMethods: ["flr"]);

    [Fact]
    public void A_free_device_of_the_model_that_is_named_is_taken()
    {
        AssertYes(First, Plan(Named(First), Free));
    }

    [Fact]
    public void The_first_free_device_of_the_model_is_taken_when_none_is_named()
    {
        AssertYes(Second, Plan(Unnamed, Free with { State = DeviceState.Open, Holder = "claim other" }, At(Second)));
    }

    [Fact]
    public void A_device_that_fits_is_taken_before_one_that_does_not()
    {
        AssertYes(Second, Plan(Unnamed, Free with { StateBytes = 8192 }, At(Second)));
    }

    [Fact]
    public void The_answer_is_of_the_claim_and_generation_that_asked()
    {
        var planned = Plan(Unnamed, Free);

        Assert.Equal(("c1", "beta", 7L), (planned.ClaimId, planned.Host, planned.Generation));
    }

    [Fact]
    public void A_new_claim_takes_any_driver_and_state_size()
    {
        AssertYes(First, Plan(Unnamed with { StateBytes = 0, Driver = null }, Free with { StateBytes = 1, Driver = "other-driver" }));
    }

    [Fact]
    public void A_device_that_is_not_there_is_refused()
    {
        AssertNo("beta has no device fab0:01:00.2; list its devices.", Plan(Named(Second), Free));
    }

    [Fact]
    public void A_device_of_another_model_is_refused()
    {
        AssertNo(
            "beta/fab0:01:00.1 is of model nvme, the claim asks for accelerator; choose a device of that model.",
            Plan(Named(First), Free with { Model = "nvme" }));
    }

    [Fact]
    public void A_real_function_that_is_only_listed_is_refused()
    {
        AssertNo(
            "beta/fab0:01:00.1 is a real function that is only listed; bind it to vfio-pci and name it in hardware.linux.functions, or choose another one.",
            Plan(Named(First), Free with { Physical = true, Model = null, State = DeviceState.Inventory }));
    }

    [Fact]
    public void A_device_that_nothing_can_claim_is_refused()
    {
        AssertNo(
            "beta/fab0:01:00.1 is of no model that can be claimed, the claim asks for accelerator; choose a device of that model.",
            Plan(Named(First), Free with { Model = null }));
    }

    [Fact]
    public void A_device_that_is_held_is_refused_with_its_holder()
    {
        AssertNo(
            "beta/fab0:01:00.1 is held by claim other; release it, or choose another device.",
            Plan(Named(First), Free with { State = DeviceState.Open, Holder = "claim other" }));
    }

    [Fact]
    public void A_device_that_recovers_is_refused()
    {
        AssertNo(
            "beta/fab0:01:00.1 is recovering from an error; try again when it is healthy.",
            Plan(Named(First), Free with { State = DeviceState.Recovering }));
    }

    [Fact]
    public void A_device_in_quarantine_is_refused()
    {
        AssertNo(
            "beta/fab0:01:00.1 is quarantined; restart its daemon, or choose another device.",
            Plan(Named(First), Free with { State = DeviceState.Quarantined }));
    }

    [Theory]
    [InlineData(First)]
    [InlineData(null)]
    public void Another_size_of_device_state_is_refused(string? device)
    {
        AssertNo(
            "beta/fab0:01:00.1 has 8192 bytes of device state, the source 4096; choose a target of the same size.",
            Plan(Unnamed with { Device = device }, Free with { StateBytes = 8192 }));
    }

    [Theory]
    [InlineData(First)]
    [InlineData(null)]
    public void Another_driver_is_refused(string? device)
    {
        AssertNo(
            "beta/fab0:01:00.1 is bound to driver none, the source to accelerator-vf; bind the same driver.",
            Plan(Unnamed with { Device = device }, Free with { Driver = null }));
    }

    [Fact]
    public void Every_reason_is_told_at_once()
    {
        var planned = Plan(Named(First), Free with { Driver = "other-driver", StateBytes = 8192, State = DeviceState.Recovering });

        Assert.Equal(3, planned.Reasons.Length);
    }

    [Fact]
    public void A_host_whose_devices_are_of_another_model_is_refused_with_what_it_has()
    {
        AssertNo(
            "beta has no device of model accelerator, only of gpu, nvme; choose a host that has one.",
            Plan(Unnamed, Free with { Model = "nvme" }, At(Second) with { Model = "gpu" }));
    }

    [Fact]
    public void A_host_without_anything_to_claim_is_refused()
    {
        AssertNo(
            "beta has no device of model accelerator, nor of any other that can be claimed; choose a host that has one.",
            Plan(Unnamed, Free with { Physical = true, Model = null, Driver = "virtio-pci", State = DeviceState.Inventory }));
    }

    [Fact]
    public void A_host_that_has_the_device_and_lacks_its_driver_is_refused_with_the_drivers_name()
    {
        AssertNo(
            "beta lacks the driver accelerator-vf: its 2 devices 1b36:fab1 are bound to none; give it that driver, or choose another host.",
            Plan(Unnamed, Free with { Model = null, Driver = null }, At(Second) with { Model = null, Driver = null }));
    }

    [Fact]
    public void A_device_of_other_ids_that_has_no_driver_is_not_held_to_lack_one()
    {
        AssertNo(
            "beta has no device of model accelerator, nor of any other that can be claimed; choose a host that has one.",
            Plan(Unnamed, Free with { Ids = new PciIds(0x1b36, 0xfab0), Model = null, Driver = null }));
    }

    [Fact]
    public void A_full_host_is_refused()
    {
        AssertNo(
            "beta is full: all 2 devices of model accelerator are in use or out of service; release one, or choose another host.",
            Plan(Unnamed, Free with { State = DeviceState.Open }, At(Second) with { State = DeviceState.Quarantined }));
    }

    [Fact]
    public void Each_device_of_a_claim_gets_a_function_of_its_own_in_the_claims_order()
    {
        AssertYes([Second, First], Plan([Unnamed, Named(First)], Free, At(Second)));
    }

    [Fact]
    public void A_function_that_only_one_device_fits_is_left_for_it()
    {
        var any = Unnamed with { StateBytes = 0, Driver = null };

        AssertYes([Second, First], Plan([any, Unnamed], Free, At(Second) with { StateBytes = 8192 }));
    }

    [Fact]
    public void Devices_of_several_models_are_found_on_one_host()
    {
        AssertYes([First, Second], Plan([Unnamed, Unnamed with { Model = "nvme" }], Free, At(Second) with { Model = "nvme" }));
    }

    [Fact]
    public void A_host_that_has_one_of_two_is_refused_with_what_is_asked_for()
    {
        AssertNo(
            "beta has 1 free devices of model accelerator, the claim asks for 2; release some, or choose another host.",
            Plan([Unnamed, Unnamed], Free, At(Second) with { State = DeviceState.Open }));
    }

    [Fact]
    public void A_function_that_is_named_twice_is_refused()
    {
        AssertNo("beta/fab0:01:00.1 is asked for twice; name another, or leave it to the host.", Plan([Named(First), Named(First)], Free, At(Second)));
    }

    [Fact]
    public void Each_device_tells_its_own_reason()
    {
        var planned = Plan([Unnamed with { Model = "nvme" }, Unnamed with { Model = "gpu" }], Free);

        Assert.Equal(
            [
                "beta has no device of model nvme, only of accelerator; choose a host that has one.",
                "beta has no device of model gpu, only of accelerator; choose a host that has one.",
            ],
            planned.Reasons);
    }

    [Fact]
    public void A_device_that_nothing_resets_is_refused()
    {
        AssertNo(
            "beta/fab0:01:00.1 has no reset method, and what was in it would be left to the claim; choose one that has.",
            Plan(Unnamed, Free with { ResetMethods = [] }));
    }

    [Fact]
    public void A_device_whose_iommu_group_somebody_has_is_refused()
    {
        AssertNo(
            "beta/fab0:01:00.1 shares IOMMU group 7 with fab0:01:00.2, which claim other holds; release that, or choose another device.",
            Plan(Unnamed, Free with { IommuGroup = 7 }, At(Second) with { IommuGroup = 7, State = DeviceState.Open, Holder = "claim other" }));
    }

    [Fact]
    public void A_device_of_another_iommu_group_is_taken_before_it()
    {
        AssertYes("fab0:01:00.3", Plan(
            Unnamed,
            Free with { IommuGroup = 7 },
            At(Second) with { IommuGroup = 7, State = DeviceState.Open, Holder = "claim other" },
            At("fab0:01:00.3") with { IommuGroup = 8 }));
    }

    [Fact]
    public void A_device_that_is_not_healthy_is_refused_with_its_way_back()
    {
        AssertNo(
            "beta/fab0:01:00.1 is Unknown: its link is down; wait for the link, or choose another device.",
            Plan(Unnamed, Free with { Health = DeviceHealth.Unknown, Reason = "its link is down", WayBack = "wait for the link" }));
    }

    [Fact]
    public void A_device_whose_driver_reads_another_state_format_is_refused()
    {
        AssertNo(
            "beta/fab0:01:00.1 takes states of format accelerator/3, the source writes accelerator/2; run the same version of driver accelerator-vf.",
            Plan(Unnamed with { StateFormat = "accelerator/2" }, Of("accelerator/3")));
    }

    [Fact]
    public void A_driver_that_does_not_say_its_state_format_is_not_refused_for_it()
    {
        AssertYes(First, Plan(Unnamed with { StateFormat = "accelerator/2" }, Free));
        AssertYes(First, Plan(Unnamed, Of("accelerator/3")));
    }

    [Fact]
    public void What_is_known_of_the_device_is_in_the_answer()
    {
        var shown = Assert.Single(Plan(Unnamed, Of("accelerator/2") with { IommuGroup = 7 }).Shown);

        Assert.Equal(
            (First, "accelerator-vf", "accelerator/2", "flr", 7, "Healthy", (MigrationFlags?)null, (bool?)null),
            (shown.Device, shown.Driver, shown.StateFormat, Assert.Single(shown.ResetMethods), shown.IommuGroup, shown.Health, shown.Flags, shown.LogsDma));
    }

    private static DeviceStatus Of(string format) => Free with { Choice = new DriverChoice(null, "it matches", []) { StateFormat = format } };

    private static DeviceNeed Unnamed { get; } = new("accelerator", Device: null, StateBytes: 4096, "accelerator-vf", "1b36:fab1");

    private static DeviceNeed Named(string device) => Unnamed with { Device = device };

    private static DeviceStatus At(string address) => Free with { Address = PciAddress.Parse(address) };

    private static TargetPlanned Plan(DeviceNeed need, params DeviceStatus[] devices) => Plan([need], devices);

    private static TargetPlanned Plan(DeviceNeed[] needs, params DeviceStatus[] devices) =>
        TargetPlanner.Plan("beta", new PlanTarget("c1", 7, needs), new DeviceList([.. devices]));

    private static void AssertYes(string device, TargetPlanned planned) => AssertYes([device], planned);

    private static void AssertYes(string[] devices, TargetPlanned planned)
    {
        Assert.Empty(planned.Reasons);
        Assert.Equal(devices, planned.Devices);
    }

    private static void AssertNo(string reason, TargetPlanned planned)
    {
        Assert.Empty(planned.Devices);
        Assert.Equal([reason], planned.Reasons);
    }
}
