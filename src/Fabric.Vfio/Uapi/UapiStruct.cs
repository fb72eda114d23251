using System.Runtime.CompilerServices;

namespace Fabric.Vfio.Uapi;

/// <summary>
/// A structure of the uAPI: the record's fields, in their order, are the kernel's fields at the kernel's offsets, in the machine's byte
/// order (little-endian on every machine that Fabric runs on). Padding is spelled out, so that no byte of it goes unsaid. Pointers are
/// addresses in the caller's memory, for who has an <see cref="IUserMemory"/>.
/// </summary>
public interface IUapiStruct<TSelf> where TSelf : unmanaged, IUapiStruct<TSelf>
{
    /// <summary>What the fields alone tell to be wrong, whatever the device: unknown flags, contradicting ones.</summary>
    static virtual VfioResult Check(TSelf value) => VfioResult.Ok;
}

/// <summary>The argument of an ioctl that says its own size: argsz in VFIO, size in iommufd, always the first u32.</summary>
public interface IUapiRequest<TSelf> : IUapiStruct<TSelf> where TSelf : unmanaged, IUapiRequest<TSelf>
{
    /// <summary>Bytes the caller must lend at least: less is EINVAL.</summary>
    static virtual int MinSize => Unsafe.SizeOf<TSelf>();

    /// <summary>Bytes past the known structure must be zero, else E2BIG (IO-100): so a newer caller learns that it was not understood.</summary>
    static virtual bool IsExtensible => false;
}
