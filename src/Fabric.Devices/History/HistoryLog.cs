using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Devices.History;

/// <summary>What is known of one device, at a moment.</summary>
/// <param name="Entries">The oldest first.</param>
/// <param name="LastEntry">How many entries it has ever had: the number of the last.</param>
/// <param name="Standing">Null where none was ever kept.</param>
/// <param name="LastStanding">How many standings it has ever had.</param>
internal sealed record DeviceLog(
    PciAddress Address, ImmutableArray<DeviceHistoryEntry> Entries, long LastEntry, DeviceStanding? Standing, long LastStanding);

/// <summary>
/// Histories and standings of a host's devices in memory: the last <see cref="DeviceLimit"/> entries of each device; where a host has so many
/// devices that this would be more than <see cref="HostLimit"/>, each has its share of that and no fewer than <see cref="DeviceLeast"/>.
/// </summary>
internal sealed class HistoryLog
{
    public const int DeviceLimit = 1000;

    public const int DeviceLeast = 16;

    public const int HostLimit = 256_000;

    private readonly Dictionary<PciAddress, Device> devices = [];

    /// <summary>Entries of one device, as a ring, and its standing.</summary>
    private sealed class Device
    {
        public Queue<DeviceHistoryEntry> Entries { get; } = new(1);

        public long LastEntry { get; set; }

        public DeviceStanding? Standing { get; set; }

        public long LastStanding { get; set; }
    }

    /// <summary>Entries of all devices.</summary>
    public int Count { get; private set; }

    /// <summary>Of every device that has a history: <see cref="DeviceStanding.None"/> where none was kept.</summary>
    public ImmutableDictionary<PciAddress, DeviceStanding> Standings =>
        devices.ToImmutableDictionary(device => device.Key, device => device.Value.Standing ?? DeviceStanding.None);

    private int Limit => Math.Clamp(HostLimit / Math.Max(devices.Count, 1), DeviceLeast, DeviceLimit);

    /// <returns>The number of the entry.</returns>
    public long Note(PciAddress address, DeviceHistoryEntry entry)
    {
        var number = Of(address).LastEntry + 1;
        Note(address, entry, number);
        return number;
    }

    /// <summary>Passes over what it has already.</summary>
    public void Note(PciAddress address, DeviceHistoryEntry entry, long number)
    {
        var device = Of(address);
        if (number <= device.LastEntry)
            return;
        device.LastEntry = number;
        device.Entries.Enqueue(entry);
        Count++;
        Trim(device);
    }

    /// <returns>The number of the standing.</returns>
    public long Keep(PciAddress address, DeviceStanding standing)
    {
        var number = Of(address).LastStanding + 1;
        Keep(address, standing, number);
        return number;
    }

    /// <summary>Passes over one that is older than what it has.</summary>
    public void Keep(PciAddress address, DeviceStanding standing, long number)
    {
        var device = Of(address);
        if (number > device.LastStanding)
            (device.Standing, device.LastStanding) = (standing, number);
    }

    /// <summary>Takes a device as it was.</summary>
    public void Put(DeviceLog taken)
    {
        var device = Of(taken.Address);
        Count += taken.Entries.Length - device.Entries.Count;
        device.Entries.Clear();
        foreach (var entry in taken.Entries)
            device.Entries.Enqueue(entry);
        (device.LastEntry, device.Standing, device.LastStanding) = (taken.LastEntry, taken.Standing, taken.LastStanding);
        Trim(device);
    }

    public DeviceLog? Find(PciAddress address) => devices.TryGetValue(address, out var device) ? Copy(address, device) : null;

    /// <summary>Every device as it is now.</summary>
    public ImmutableArray<DeviceLog> Copy() => [.. devices.Select(device => Copy(device.Key, device.Value))];

    /// <returns><see cref="DeviceHistoryRead"/>, or EINVAL for a limit out of range.</returns>
    public object Answer(GetDeviceHistory request)
    {
        if (request.Limit is < 1 or > DeviceLimit)
            return new DeviceFailed(Errno.EINVAL, $"A history is read from 1 to {DeviceLimit} entries at a time, not {request.Limit}.");
        return devices.TryGetValue(request.Address, out var device)
            ? new DeviceHistoryRead([.. device.Entries.Skip(device.Entries.Count - request.Limit).Reverse()])
            : new DeviceHistoryRead([]);
    }

    private Device Of(PciAddress address) => devices.TryGetValue(address, out var device) ? device : devices[address] = new Device();

    private void Trim(Device device)
    {
        for (var limit = Limit; device.Entries.Count > limit; Count--)
            device.Entries.Dequeue();
    }

    private static DeviceLog Copy(PciAddress address, Device device) =>
        new(address, [.. device.Entries], device.LastEntry, device.Standing, device.LastStanding);
}
