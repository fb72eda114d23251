using Fabric.Devices;

namespace Fabric.Migration.Hosts;

/// <summary>Whether a host could run a claim, and if not, every reason with its remedy. Touches nothing.</summary>
internal static class TargetPlanner
{
    public static TargetPlanned Plan(string host, PlanTarget plan, DeviceList devices)
    {
        var reasons = new List<string>();
        var device = plan.Device is null ? Any(host, plan, devices, reasons) : Named(host, plan, plan.Device, devices, reasons);
        return new TargetPlanned(plan.ClaimId, host, plan.Generation, reasons.Count == 0 ? device!.Address.ToString() : null, [.. reasons]);
    }

    private static DeviceStatus? Named(string host, PlanTarget plan, string address, DeviceList devices, List<string> reasons)
    {
        var device = devices.Devices.FirstOrDefault(candidate => candidate.Address.ToString() == address);
        if (device is null)
            reasons.Add($"{host} has no device {address}; list its devices.");
        else if (device.Physical)
            reasons.Add($"{host}/{address} is a real function, shown for inventory; it is not handed out yet; choose an emulated one.");
        else if (device.Model != plan.Model)
            reasons.Add($"{host}/{address} is of {(device.Model is { } model ? $"model {model}" : "no model that can be claimed")}, the claim asks for {plan.Model}; choose a device of that model.");
        else
            CheckFit(host, plan, device, reasons);
        if (device is { Physical: false, State: not DeviceState.Closed })
            reasons.Add(WhyNotFree(host, device));
        return device;
    }

    private static DeviceStatus? Any(string host, PlanTarget plan, DeviceList devices, List<string> reasons)
    {
        var ofModel = devices.Devices.Where(device => device.Model == plan.Model).ToArray();
        if (ofModel.Length == 0)
        {
            reasons.Add(WhyNoneOfModel(host, plan, devices));
            return null;
        }

        var free = ofModel.Where(device => device.State == DeviceState.Closed).ToArray();
        if (free.Length == 0)
        {
            reasons.Add($"{host} is full: all {ofModel.Length} devices of model {plan.Model} are in use or out of service; release one, or choose another host.");
            return null;
        }

        foreach (var device in free)
        {
            var misfits = new List<string>();
            CheckFit(host, plan, device, misfits);
            if (misfits.Count == 0)
            {
                // One that fits is enough, whatever those before it lacked.
                reasons.Clear();
                return device;
            }

            if (reasons.Count == 0)
                reasons.AddRange(misfits);
        }

        return null;
    }

    /// <summary>The same device without a driver, other models, or nothing of the kind: each has its own remedy.</summary>
    private static string WhyNoneOfModel(string host, PlanTarget plan, DeviceList devices)
    {
        var withoutDriver = devices.Devices.Count(device => device is { Physical: false, Driver: null } && device.Ids.ToString() == plan.Ids);
        if (withoutDriver > 0)
            return $"{host} lacks the driver {plan.Driver}: its {withoutDriver} devices {plan.Ids} are bound to none; give it that driver, or choose another host.";
        var others = devices.Devices.Select(device => device.Model).OfType<string>().Distinct().Order(StringComparer.Ordinal).ToArray();
        return others.Length > 0
            ? $"{host} has no device of model {plan.Model}, only of {string.Join(", ", others)}; choose a host that has one."
            : $"{host} has no device of model {plan.Model}, nor of any other that can be claimed; choose a host that has one.";
    }

    private static void CheckFit(string host, PlanTarget plan, DeviceStatus device, List<string> reasons)
    {
        if (plan.Driver is not null && device.Driver != plan.Driver)
            reasons.Add($"{host}/{device.Address} is bound to driver {device.Driver ?? "none"}, the source to {plan.Driver}; bind the same driver.");
        if (plan.StateBytes != 0 && device.StateBytes != plan.StateBytes)
            reasons.Add($"{host}/{device.Address} has {device.StateBytes} bytes of device state, the source {plan.StateBytes}; choose a target of the same size.");
    }

    private static string WhyNotFree(string host, DeviceStatus device) => device.State switch
    {
        DeviceState.Open => $"{host}/{device.Address} is held by {device.Holder}; release it, or choose another device.",
        DeviceState.Recovering => $"{host}/{device.Address} is recovering from an error; try again when it is healthy.",
        DeviceState.Quarantined => $"{host}/{device.Address} is quarantined; restart its daemon, or choose another device.",
        _ => $"{host}/{device.Address} is not handed out; choose another device.",
    };
}
