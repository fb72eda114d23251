using System.Collections.Immutable;
using System.Globalization;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Vfio.Core;

/// <summary>What a change of the number of VFs came to.</summary>
/// <param name="Count">VFs that there are now.</param>
/// <param name="Waiting">VFs that are still held: they go first; then the change is asked for again (SV-11).</param>
public sealed record SriovChange(int Count, ImmutableArray<Unregistration> Waiting)
{
    public bool IsComplete => Waiting.IsEmpty;
}

/// <summary>The VFs of a PF: the sysfs attribute sriov_numvfs, the driver's callback, the core's part (contract §5).</summary>
internal sealed class Sriov(
    VfioPciCore device, IPciFunction function, SriovCapability? capability, VfioPciDevices devices, FunctionPower power, RuntimePower runtime)
{
    /// <summary>VFs that there are.</summary>
    public int Count { get; private set; }

    /// <summary>The PF stays in D0 (INV-6).</summary>
    public bool IsActive { get; private set; }

    /// <summary>A write to sriov_numvfs: decimal, or hexadecimal after 0x. Errors: SV-1 to SV-9.</summary>
    public VfioResult<SriovChange> Write(ReadOnlySpan<char> text)
    {
        if (!TryParse(text, out var count))
            return new VfioError(Errno.EINVAL, "The number of VFs is not a number from 0 to 65535.");
        if (WhyNot(count) is { } refused)
            return refused;
        return count == Count ? new SriovChange(Count, []) : Configure(count);
    }

    /// <summary>What is in the way of so many VFs before hardware is asked (SV-1 to SV-6); null for nothing.</summary>
    public VfioError? WhyNot(int count)
    {
        if (count > (capability?.TotalVfs ?? 0))
            return new VfioError(Errno.ERANGE, "The function has not so many VFs; sriov_totalvfs tells how many.");
        if (count == Count)
            return null;
        if (!device.Driver.ConfiguresSriov || !device.Options.EnableSriov)
            return new VfioError(Errno.ENOENT, "The function's driver does not configure SR-IOV, or is not allowed to.");
        return count != 0 && Count != 0
            ? new VfioError(Errno.EBUSY, "The function has VFs; remove them before making another number of them.")
            : null;
    }

    /// <summary>The core's part. Errors: EINVAL listed already, and those of hardware (SV-7 to SV-11).</summary>
    public VfioResult<SriovChange> Configure(int count) => count == 0 ? Disable() : Enable(count);

    private VfioResult<SriovChange> Enable(int count)
    {
        if (!devices.List(device.Address))
            return new VfioError(Errno.EINVAL, "The function is listed as a PF of VFs already.");
        if (!runtime.TryGet())
        {
            devices.Unlist(device.Address);
            return Asleep;
        }

        if (!device.ForceD0())
        {
            Deactivate();
            return Asleep;
        }

        (power.IsPinned, IsActive) = (true, true);
        var made = function.SetVirtualFunctions(count);
        if (!made.IsOk)
        {
            Deactivate();
            return made.Error;
        }

        Count = count;
        foreach (var appeared in VirtualFunctions())
            devices.Override(appeared, device.Driver.Name);                              // SV-21
        return new SriovChange(count, []);
    }

    private VfioResult<SriovChange> Disable()
    {
        if (!IsActive)
            return new SriovChange(0, []);
        var waiting = ImmutableArray.CreateBuilder<Unregistration>();
        foreach (var virtualFunction in devices.VirtualFunctionsOf(device))
        {
            var leaving = virtualFunction.Unregister();
            if (!leaving.IsComplete)
                waiting.Add(leaving);
        }

        if (waiting.Count > 0)
            return new SriovChange(Count, waiting.ToImmutable());
        foreach (var gone in VirtualFunctions())
            devices.Override(gone, null);
        function.SetVirtualFunctions(0);
        Count = 0;
        Deactivate();
        return new SriovChange(0, []);
    }

    private static VfioError Asleep => new(Errno.EIO, "The function does not wake from D3.");

    private void Deactivate()
    {
        (power.IsPinned, IsActive) = (false, false);
        devices.Unlist(device.Address);
        runtime.Put();
    }

    private IEnumerable<PciAddress> VirtualFunctions() => devices.Bus is null
        ? []
        : devices.Bus.Functions
            .Where(candidate => candidate.IsVirtualFunction && candidate.PhysicalFunction == device.Address)
            .Select(candidate => candidate.Address);

    private static bool TryParse(ReadOnlySpan<char> text, out int count)
    {
        text = text.TrimEnd('\n');
        var parsed = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? ushort.TryParse(text[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number)
            : ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
        count = number;
        return parsed;
    }
}
