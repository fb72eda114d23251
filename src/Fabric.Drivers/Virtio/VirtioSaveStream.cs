using Fabric.Hardware.Specs.Virtio;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Virtio;

/// <summary>
/// The device's half of the readable data fd (VD-VIR-3): a record of the device's parts at once; while it runs another where they have
/// changed, asked for once a second at most and only when all before it was read; and when it has stopped the last one and the end.
/// </summary>
internal sealed class VirtioSaveStream : IMigrationData
{
    public static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(1);

    private readonly VirtioCommands device;
    private readonly TimeProvider time;
    private VirtioStreamSum sum = new();
    private byte[] unread = [];
    private byte[] parts = [];
    private int position;
    private int startUpLeft;
    private long refreshed;
    private bool isEnded;

    private VirtioSaveStream(VirtioCommands device, TimeProvider time) => (this.device, this.time) = (device, time);

    /// <summary>Makes the object by which it reads. Errors: those of the commands.</summary>
    public static VfioResult<VirtioSaveStream> Open(VirtioCommands device, TimeProvider time)
    {
        var created = device.Create(VirtioObjectFor.Getting);
        return created.IsOk ? new VirtioSaveStream(device, time) : created.Error;
    }

    /// <summary>What the device is now is the start-up set (MG-25). Errors: those of the commands.</summary>
    public VfioResult Begin()
    {
        var refreshed = Refresh();
        startUpLeft = unread.Length;
        return refreshed;
    }

    /// <summary>The device has stopped: what it is now is the last record. Errors: those of the commands.</summary>
    public VfioResult Finish()
    {
        var refreshed = Refresh();
        if (!refreshed.IsOk)
            return refreshed;
        Span<byte> end = stackalloc byte[VirtioStreamFormat.EndBytes];
        sum.Write(end);
        Append(VirtioStreamFormat.Optional, VirtioStreamFormat.End, end);
        isEnded = true;
        return VfioResult.Ok;
    }

    public VfioResult<int> Read(Span<byte> destination)
    {
        var looked = LookAgain();
        if (!looked.IsOk)
            return looked.Error;
        var part = Math.Min(destination.Length, unread.Length - position);
        unread.AsSpan(position, part).CopyTo(destination);
        position += part;
        startUpLeft = Math.Max(0, startUpLeft - part);
        return part;
    }

    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        var looked = LookAgain();
        return looked.IsOk ? new PrecopyInfo((ulong)startUpLeft, (ulong)(unread.Length - position - startUpLeft)) : looked.Error;
    }

    /// <summary>Its object goes. A PF that cannot be told has none of it any more, or gives it up when the next is made.</summary>
    public void Close() => device.Destroy(VirtioObjectFor.Getting);

    private VfioResult LookAgain() =>
        isEnded || position < unread.Length || time.GetElapsedTime(refreshed) < RefreshInterval ? VfioResult.Ok : Refresh();

    private VfioResult Refresh()
    {
        refreshed = time.GetTimestamp();
        var got = device.GetParts();
        if (!got.IsOk)
            return got.Error;
        if (!got.Value.AsSpan().SequenceEqual(parts))
            Append(flags: 0, VirtioStreamFormat.DeviceData, parts = got.Value);
        return VfioResult.Ok;
    }

    private void Append(uint flags, uint tag, ReadOnlySpan<byte> payload)
    {
        var left = unread.AsSpan(position);
        var longer = new byte[left.Length + VirtioStreamFormat.HeaderBytes + payload.Length];
        left.CopyTo(longer);
        VirtioStreamFormat.WriteHeader(longer.AsSpan(left.Length), payload.Length, flags, tag);
        payload.CopyTo(longer.AsSpan(left.Length + VirtioStreamFormat.HeaderBytes));
        sum.Add(longer.AsSpan(left.Length));
        (unread, position) = (longer, 0);
    }
}
