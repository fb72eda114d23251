using Fabric.Devices;

namespace Fabric.Migration.Hosts;

/// <summary>Whether a host could run a claim, and if not, every reason with its remedy. Touches nothing.</summary>
internal static class TargetPlanner
{
    public static TargetPlanned Plan(string host, PlanTarget plan, DeviceList devices)
    {
        var reasons = new List<string>();
        var taken = new DeviceStatus?[plan.Devices.Length];
        // Those that are named first: what is left is for the others.
        foreach (var index in Enumerable.Range(0, taken.Length).OrderBy(index => plan.Devices[index].Device is null))
        {
            var need = plan.Devices[index];
            if (need.Device is null)
                Any(host, plan, index, devices, taken, reasons);
            else
                taken[index] = Named(host, need, need.Device, devices, taken, reasons);
        }

        DeviceStatus[] given = reasons.Count == 0 ? [.. taken.Select(static device => device!)] : [];
        return new TargetPlanned(plan.ClaimId, host, plan.Generation, [.. given.Select(static device => device.Address.ToString())], [.. reasons])
        {
            Shown = [.. given.Select(Show)],
        };
    }

    /// <summary>What is known of a function that nobody has open.</summary>
    public static PlannedDevice Show(DeviceStatus device) => new(
        device.Address.ToString(), device.Driver, device.Choice?.StateFormat, [.. device.ResetMethods], device.IommuGroup, device.Health.ToString(),
        Flags: null, LogsDma: null);

    private static DeviceStatus? Named(
        string host, DeviceNeed need, string address, DeviceList devices, DeviceStatus?[] taken, List<string> reasons)
    {
        var device = devices.Devices.FirstOrDefault(candidate => candidate.Address.ToString() == address);
        if (device is null)
            reasons.Add($"{host} has no device {address}; list its devices.");
        else if (device.State == DeviceState.Inventory)
            reasons.Add($"{host}/{address} is a real function that is only listed; bind it to vfio-pci and name it in hardware.linux.functions, or choose another one.");
        else if (device.Model != need.Model)
            reasons.Add($"{host}/{address} is of {(device.Model is { } model ? $"model {model}" : "no model that can be claimed")}, the claim asks for {need.Model}; choose a device of that model.");
        else if (taken.Contains(device))
            reasons.Add($"{host}/{address} is asked for twice; name another, or leave it to the host.");
        else
            CheckFit(host, need, device, devices, reasons);
        if (device is { State: not (DeviceState.Inventory or DeviceState.Closed) })
            reasons.Add(WhyNotFree(host, device));
        return device;
    }

    private static void Any(string host, PlanTarget plan, int index, DeviceList devices, DeviceStatus?[] taken, List<string> reasons)
    {
        var need = plan.Devices[index];
        var ofModel = devices.Devices.Where(device => device.Model == need.Model).ToArray();
        if (ofModel.Length == 0)
        {
            AddOnce(reasons, WhyNoneOfModel(host, need, devices));
            return;
        }

        var free = ofModel.Where(static device => device.State == DeviceState.Closed).ToArray();
        if (free.Length == 0)
        {
            AddOnce(reasons, $"{host} is full: all {ofModel.Length} devices of model {need.Model} are in use or out of service; release one, or choose another host.");
            return;
        }

        if (TakeFitting(plan, index, free, devices, taken, []))
            return;
        var misfits = new List<string>();
        foreach (var device in free.Except(taken))
        {
            CheckFit(host, need, device!, devices, misfits);
            if (misfits.Count > 0)
                break;
        }

        if (misfits.Count == 0)
        {
            var asked = plan.Devices.Count(other => other.Model == need.Model);
            misfits.Add(
                $"{host} has {free.Length} free devices of model {need.Model}, the claim asks for {asked}; release some, or choose another host.");
        }

        misfits.ForEach(misfit => AddOnce(reasons, misfit));
    }

    /// <summary>Takes a free device that fits; where one that was taken for another need is the only one, that need takes another.</summary>
    private static bool TakeFitting(
        PlanTarget plan, int index, DeviceStatus[] free, DeviceList devices, DeviceStatus?[] taken, HashSet<DeviceStatus> seen)
    {
        foreach (var device in free)
        {
            if (!Fits(plan.Devices[index], device, devices) || !seen.Add(device))
                continue;
            var holder = Array.IndexOf(taken, device);
            if (holder >= 0 && (plan.Devices[holder].Device is not null || !TakeFitting(plan, holder, free, devices, taken, seen)))
                continue;
            taken[index] = device;
            return true;
        }

        return false;
    }

    /// <summary>The same device without a driver, other models, or nothing of the kind: each has its own remedy.</summary>
    private static string WhyNoneOfModel(string host, DeviceNeed need, DeviceList devices)
    {
        var withoutDriver = devices.Devices.Count(device => device is { State: not DeviceState.Inventory, Driver: null } && device.Ids.ToString() == need.Ids);
        if (withoutDriver > 0)
            return $"{host} lacks the driver {need.Driver}: its {withoutDriver} devices {need.Ids} are bound to none; give it that driver, or choose another host.";
        var others = devices.Devices.Select(device => device.Model).OfType<string>().Distinct().Order(StringComparer.Ordinal).ToArray();
        return others.Length > 0
            ? $"{host} has no device of model {need.Model}, only of {string.Join(", ", others)}; choose a host that has one."
            : $"{host} has no device of model {need.Model}, nor of any other that can be claimed; choose a host that has one.";
    }

    private static bool Fits(DeviceNeed need, DeviceStatus device, DeviceList devices)
    {
        var misfits = new List<string>();
        CheckFit("", need, device, devices, misfits);
        return device.Model == need.Model && misfits.Count == 0;
    }

    private static void CheckFit(string host, DeviceNeed need, DeviceStatus device, DeviceList devices, List<string> reasons)
    {
        if (device is { State: DeviceState.Closed, Health: not DeviceHealth.Healthy })
            reasons.Add($"{host}/{device.Address} is {device.Health}: {device.Reason}; {device.WayBack}, or choose another device.");
        if (device is { ResetMethods.IsEmpty: true, MdevUuid: null })
            reasons.Add($"{host}/{device.Address} has no reset method, and what was in it would be left to the claim; choose one that has.");
        // A group has one owner (LC-13), and no two claims share one.
        if (device.IommuGroup is { } group && devices.Devices.FirstOrDefault(other =>
                other.IommuGroup == group && other.Address != device.Address && other.State == DeviceState.Open) is { } beside)
        {
            reasons.Add(
                $"{host}/{device.Address} shares IOMMU group {group} with {beside.Address}, which {beside.Holder} holds; release that, or choose another device.");
        }

        if (need.Driver is not null && device.Driver != need.Driver)
            reasons.Add($"{host}/{device.Address} is bound to driver {device.Driver ?? "none"}, the source to {need.Driver}; bind the same driver.");
        if (need.StateBytes != 0 && device.StateBytes != need.StateBytes)
            reasons.Add($"{host}/{device.Address} has {device.StateBytes} bytes of device state, the source {need.StateBytes}; choose a target of the same size.");
        if (need.StateFormat is not null && device.Choice?.StateFormat is { } format && format != need.StateFormat)
        {
            reasons.Add(
                $"{host}/{device.Address} takes states of format {format}, the source writes {need.StateFormat}; run the same version of driver {device.Driver}.");
        }
    }

    /// <summary>Several devices may lack the same.</summary>
    private static void AddOnce(List<string> reasons, string reason)
    {
        if (!reasons.Contains(reason))
            reasons.Add(reason);
    }

    private static string WhyNotFree(string host, DeviceStatus device) => device.State switch
    {
        DeviceState.Open => $"{host}/{device.Address} is held by {device.Holder}; release it, or choose another device.",
        DeviceState.Recovering => $"{host}/{device.Address} is recovering from an error; try again when it is healthy.",
        DeviceState.Quarantined => $"{host}/{device.Address} is quarantined; restart its daemon, or choose another device.",
        _ => $"{host}/{device.Address} is not handed out; choose another device.",
    };
}
