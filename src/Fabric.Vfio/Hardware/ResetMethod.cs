using System.Collections.Immutable;

namespace Fabric.Vfio;

/// <summary>Ways to reset one function, by the names that sysfs has for them (reset_method).</summary>
public static class ResetMethod
{
    public const string DeviceSpecific = "device_specific";
    public const string Acpi = "acpi";
    public const string FunctionLevel = "flr";
    public const string AdvancedFeatures = "af_flr";
    public const string PowerManagement = "pm";
    public const string Bus = "bus";
    public const string CxlBus = "cxl_bus";

    /// <summary>In the order in which the kernel tries them (IO-51).</summary>
    public static ImmutableArray<string> All { get; } =
        [DeviceSpecific, Acpi, FunctionLevel, AdvancedFeatures, PowerManagement, Bus, CxlBus];

    /// <summary>What a reset of a function without any ends with: ENOTTY (IO-51).</summary>
    public static VfioError Missing { get; } = new(Errno.ENOTTY, "The function has no reset method, or all of them are turned off.");
}
