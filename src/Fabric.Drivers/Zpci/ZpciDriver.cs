using System.Buffers.Binary;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Zpci;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Zpci;

/// <summary>
/// A PCI function of an s390 host: tells its user what firmware tells of it (four capabilities of GET_INFO), and keeps errors that were met until
/// the user has fetched them (feature ZPCI_ERROR; ER-31). All else falls through to the core.
/// </summary>
public class ZpciDriver : VariantDriver
{
    /// <summary>As the kernel keeps: later ones are lost, and the user knows that the device is in error.</summary>
    private const int MostErrors = 16;

    private readonly Queue<ulong> errors = [];

    public ZpciDriver(DriverContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(context);
        var platform = context.Platform;
        if (!platform.TryGetProperty(ZpciProperties.FunctionHandle, out _))
            return;
        AddInfoCapability(ZpciCapabilities.Base(platform));
        AddInfoCapability(ZpciCapabilities.Group(platform));
        if (platform.GetProperty(ZpciProperties.UtilityString) is { IsEmpty: false } utility)
            AddInfoCapability(ZpciCapabilities.Sized(DeviceCapabilityIds.ZpciUtil, utility));
        if (platform.GetProperty(ZpciProperties.Path) is { IsEmpty: false } path)
            AddInfoCapability(ZpciCapabilities.Sized(DeviceCapabilityIds.ZpciPfip, path));
        AddFeature((ushort)CoreFeature.ZpciError, FeatureOperations.Get, _ => Fetch());
        Observe<ErrorDetected>(Keep);
    }

    public static DriverRegistration Registration { get; } = new(
        "zpci", new PciIds(ZpciIds.Vendor, ZpciIds.Device), "zpci", context => Props.Create(() => new ZpciDriver(context))) { Migrates = false };

    /// <summary>Errors are the session's: the next holder does not hear of them.</summary>
    protected override void OnSessionClosed(SessionId session) => errors.Clear();

    /// <summary>Severity in the upper half, status in the lower.</summary>
    private void Keep(ErrorDetected detected)
    {
        if (errors.Count < MostErrors)
            errors.Enqueue(((ulong)detected.Record.Severity << 32) | detected.Record.Status);
    }

    private VfioResult<ReadOnlyMemory<byte>> Fetch()
    {
        if (!errors.TryDequeue(out var error))
            return new VfioError(Errno.ENOMSG, "No error is pending; ask again when the error interrupt comes.");
        var payload = new byte[VfioDeviceFeatureZpciErr.WireSize];
        BinaryPrimitives.WriteUInt64LittleEndian(payload, error);
        return new ReadOnlyMemory<byte>(payload);
    }
}
