using System.Runtime.InteropServices;
using Fabric.Pci;

namespace Fabric.Vfio.Uapi;

/// <summary>How the ids of GET_PCI_HOT_RESET_INFO read (IO-61).</summary>
[Flags]
public enum HotResetFlags : uint
{
    /// <summary>They are group ids.</summary>
    None = 0,

    /// <summary>They are device ids of the caller's iommufd.</summary>
    DevId = 1,

    /// <summary>All of them are the caller's to reset.</summary>
    DevIdOwned = 2,
}

/// <summary>A function that a hot reset would affect (IO-61).</summary>
/// <param name="GroupId">
/// With <see cref="HotResetFlags.DevId"/> a device id, <see cref="OwnedNotBound"/> or <see cref="NotOwned"/>; else a group id.
/// </param>
public readonly record struct VfioPciDependentDevice(int GroupId, ushort Segment, byte Bus, byte Devfn) : IUapiStruct<VfioPciDependentDevice>
{
    public const int OwnedNotBound = 0;
    public const int NotOwned = -1;

    public PciAddress Address => PciAddress.FromRoutingId(Segment, (ushort)((Bus << 8) | Devfn));

    public static VfioPciDependentDevice Of(int id, PciAddress address) => new(id, address.Domain, address.Bus, address.DevFn);
}

/// <summary>The head of GET_PCI_HOT_RESET_INFO (IO-60); <paramref name="Count"/> devices follow.</summary>
public readonly record struct VfioPciHotResetInfo(uint Argsz, HotResetFlags Flags, uint Count) : IUapiRequest<VfioPciHotResetInfo>
{
    /// <summary>
    /// The whole answer. Errors: ENOSPC, with count written, where the devices do not fit in argsz; EFAULT for a buffer below that.
    /// </summary>
    public static VfioResult EncodeReply(Span<byte> buffer, uint argsz, HotResetFlags flags, ReadOnlySpan<VfioPciDependentDevice> devices)
    {
        var bytes = MemoryMarshal.AsBytes(devices);
        var head = new VfioPciHotResetInfo(argsz, flags, (uint)devices.Length);
        var size = VfioPciHotResetInfo.WireSize + bytes.Length;
        if (argsz < size)
        {
            var counted = head.EncodeReply(buffer, argsz);
            return counted.IsOk
                ? VfioResult.Fail(Errno.ENOSPC, "GET_PCI_HOT_RESET_INFO: argsz has no room for the devices; count says how many.")
                : counted;
        }

        if (buffer.Length < size)
            return UapiCodec.MemoryRefusal<VfioPciHotResetInfo>();
        head.Encode(buffer);
        bytes.CopyTo(buffer[VfioPciHotResetInfo.WireSize..]);
        return VfioResult.Ok;
    }

    /// <summary>The devices of a reply, as a client reads them. False: the reply is shorter than its count says.</summary>
    public bool TryDevices(ReadOnlySpan<byte> reply, out ReadOnlySpan<VfioPciDependentDevice> devices)
    {
        devices = default;
        return reply.Length >= VfioPciHotResetInfo.WireSize && UapiCodec.TryView(reply[VfioPciHotResetInfo.WireSize..], Count, out devices);
    }
}

/// <summary>The head of PCI_HOT_RESET (IO-62); <paramref name="Count"/> descriptors of groups follow, none from who holds a cdev.</summary>
public readonly record struct VfioPciHotReset(uint Argsz, uint Flags, uint Count) : IUapiRequest<VfioPciHotReset>
{
    /// <summary>Errors: EINVAL for any flag.</summary>
    public static VfioResult Check(VfioPciHotReset value) => value.Flags == 0
        ? VfioResult.Ok
        : VfioResult.Fail(Errno.EINVAL, "PCI_HOT_RESET has no flags; set them to 0.");

    /// <summary>
    /// The groups of a request. Read them when count itself was found good: how many there are is not bound to argsz. False: fewer than
    /// count are in the buffer (EFAULT).
    /// </summary>
    public bool TryGroupFds(ReadOnlySpan<byte> request, out ReadOnlySpan<int> fds)
    {
        fds = default;
        return request.Length >= VfioPciHotReset.WireSize && UapiCodec.TryView(request[VfioPciHotReset.WireSize..], Count, out fds);
    }
}
