using Fabric.Migration.Wire;

namespace Fabric.Migration.Fleet;

/// <summary>
/// What an operator or a rule has a host do, told to the host's gateway. Answered with its own reply, or with <see cref="OperationRefused"/>. What
/// changes something carries <c>By</c>, who asks, for its history.
/// </summary>
public interface IHostOperation : IWireMessage
{
    /// <summary>What it is about, for people.</summary>
    string Subject { get; }

    /// <summary>Nothing is done. What would be is answered with <see cref="OperationPlanned"/>, and what is in its way as ever.</summary>
    bool PlanOnly => false;
}

/// <summary>What is done with one device of the host.</summary>
public interface IDeviceOperation : IHostOperation
{
    /// <summary>PCI address on that host.</summary>
    string Device { get; }

    string IHostOperation.Subject => Device;
}

/// <summary>What an operator has a host do with its drivers, told to the host's gateway.</summary>
public interface IDriverOperation : IHostOperation;

/// <summary>A fault to be made, or to be ended, in an emulated function.</summary>
public interface IDeviceFault : IDeviceOperation
{
    /// <summary>Who asks.</summary>
    string By { get; }
}

/// <summary>It was done.</summary>
public sealed record OperationDone(string Device) : IWireMessage;

/// <summary>What it would do as things are; nothing was done.</summary>
/// <param name="Would">A sentence without a full stop.</param>
/// <param name="Affects">Who else is concerned.</param>
public sealed record OperationPlanned(string Device, string Would, string[] Affects) : IWireMessage;

/// <summary>It was not done.</summary>
/// <param name="Device">A PCI address, or what else it was about.</param>
/// <param name="Errno">A Linux errno by its name, such as <c>EBUSY</c>.</param>
public sealed record OperationRefused(string Device, string Errno, string Sentence) : IWireMessage;

// ---- Looking -------------------------------------------------------------------------------------------------------------------------

/// <summary>Answered with <see cref="HistoryRead"/>.</summary>
/// <param name="Limit">The last so many entries, 1 to 1000; fewer where they are longer than a message.</param>
public sealed record ReadHistory(string Device, int Limit) : IDeviceOperation;

/// <param name="Lines">Newest last.</param>
public sealed record HistoryRead(string Device, DeviceHistoryLine[] Lines) : IWireMessage;

public sealed record DeviceHistoryLine(DateTimeOffset Time, string Kind, string Message) : IWireMessage;

/// <summary>Asks for the live state of supervisor, driver and core. Answered with <see cref="FunctionInspected"/>.</summary>
public sealed record InspectFunction(string Device) : IDeviceOperation;

/// <param name="Lines">The tree, each node before what is below it.</param>
public sealed record FunctionInspected(string Device, InspectLine[] Lines) : IWireMessage;

/// <param name="Depth">0 for the root.</param>
public sealed record InspectLine(int Depth, string Name, string? Value) : IWireMessage;

// ---- Commands ------------------------------------------------------------------------------------------------------------------------

/// <summary>Resets a function whoever holds it. Answered with <see cref="OperationDone"/>.</summary>
/// <param name="Method">As sysfs spells it, such as <c>flr</c>; null for the first that works.</param>
public sealed record ResetFunction(string Device, string? Method, string By) : IDeviceOperation
{
    public bool PlanOnly { get; init; }
}

/// <summary>Which reset methods are tried, in this order. Answered with <see cref="OperationDone"/>.</summary>
public sealed record ChooseResetMethods(string Device, string[] Methods, string By) : IDeviceOperation
{
    public bool PlanOnly { get; init; }
}

/// <summary>Quarantine. Answered with <see cref="OperationDone"/> when it is in the device's history.</summary>
public sealed record TakeOutOfService(string Device, string Reason, string By) : IDeviceOperation
{
    public bool PlanOnly { get; init; }
}

/// <summary>The way back from quarantine: a reset, and a probe. Answered with <see cref="OperationDone"/>.</summary>
public sealed record PutIntoService(string Device, string By) : IDeviceOperation
{
    public bool PlanOnly { get; init; }
}

/// <summary>Makes so many VFs of a PF, or removes them all. Answered with <see cref="VirtualFunctionsMade"/>.</summary>
public sealed record MakeVirtualFunctions(string Device, int Count, string By) : IDeviceOperation
{
    public bool PlanOnly { get; init; }
}

public sealed record VirtualFunctionsMade(string Device, string[] VirtualFunctions) : IWireMessage;

/// <summary>Sets a function's driver_override, or (null) clears it, and probes it anew. Answered with <see cref="OperationDone"/>.</summary>
public sealed record ChooseDriver(string Device, string? Driver, string By) : IDeviceOperation
{
    public bool PlanOnly { get; init; }
}

/// <summary>Takes a device away in order. Answered with <see cref="OperationDone"/>, or with <see cref="HolderAwaited"/>.</summary>
/// <param name="ForceAfterMs">When its holder's sessions are closed by force, milliseconds; null is never.</param>
public sealed record TakeAway(string Device, int? ForceAfterMs, string By) : IDeviceOperation
{
    public bool PlanOnly { get; init; }
}

/// <summary>The removal has begun, goes on, and waits.</summary>
/// <param name="Holder">Who is asked for release; null where nobody is known to hold the device.</param>
public sealed record HolderAwaited(string Device, string? Holder, string Sentence) : IWireMessage;

// ---- Drivers -------------------------------------------------------------------------------------------------------------------------

/// <summary>Answered with <see cref="DriversShown"/>.</summary>
public sealed record ShowDrivers : IDriverOperation
{
    public string Subject => "drivers";
}

public sealed record DriversShown(DriverLine[] Drivers) : IWireMessage;

/// <summary>A driver, or a plugin of which no driver is loaded.</summary>
/// <param name="Plugin">The folder that it came from; null for one in the box.</param>
/// <param name="State"><c>loaded</c>, <c>refused</c>, <c>unloaded</c>, or <c>leaving</c>: unloaded, and in memory still.</param>
/// <param name="Ids">Each as <c>vendor:device</c>, and what else it says.</param>
/// <param name="Devices">Functions that have it.</param>
public sealed record DriverLine(
    string? Name, string? Plugin, string? Version, string State, string? Reason, string[] Ids, string? Model, int Priority, string? InFrontOf,
    int Devices) : IWireMessage;

/// <summary>Loads the plugins that are not loaded, or one. Answered with <see cref="DriversShown"/>.</summary>
public sealed record LoadPlugins(string? Plugin, string By) : IDriverOperation
{
    public bool PlanOnly { get; init; }

    public string Subject => Plugin ?? "drivers";
}

/// <summary>Unloads the plugin that has a driver of this name. Answered with <see cref="OperationDone"/>.</summary>
public sealed record UnloadPlugin(string Name, string By) : IDriverOperation
{
    public bool PlanOnly { get; init; }

    public string Subject => Name;
}

// ---- Faults --------------------------------------------------------------------------------------------------------------------------

/// <summary>Answered with <see cref="ErrorInjected"/> when recovery is through.</summary>
/// <param name="Severity">See <see cref="FaultWords"/>.</param>
public sealed record InjectError(string Device, string Severity, string By) : IDeviceFault
{
    public bool PlanOnly { get; init; }
}

/// <param name="Outcome"><c>recovered</c>, <c>failed</c> or <c>logged</c>.</param>
public sealed record ErrorInjected(string Device, string Severity, string Outcome, double Ms, string[] Steps) : IWireMessage;

/// <summary>Calls to the function do not return any more. Answered with <see cref="OperationDone"/>, as all below are.</summary>
/// <param name="Point">Which calls; see <see cref="FaultWords"/>.</param>
public sealed record HangFunction(string Device, string Point, string By) : IDeviceFault
{
    public bool PlanOnly { get; init; }
}

/// <summary>Ends what <see cref="HangFunction"/> began.</summary>
public sealed record ReleaseFunction(string Device, string By) : IDeviceFault
{
    public bool PlanOnly { get; init; }
}

/// <summary>The function is pulled out.</summary>
public sealed record PullOutFunction(string Device, string By) : IDeviceFault
{
    public bool PlanOnly { get; init; }
}

/// <summary>Ends what <see cref="PullOutFunction"/> began.</summary>
public sealed record PutBackFunction(string Device, string By) : IDeviceFault
{
    public bool PlanOnly { get; init; }
}

/// <summary>The function's link goes down and up.</summary>
/// <param name="EachMs">How long it is down, and up, each time; milliseconds.</param>
public sealed record FlapLink(string Device, int Times, int EachMs, string By) : IDeviceFault
{
    public bool PlanOnly { get; init; }
}
