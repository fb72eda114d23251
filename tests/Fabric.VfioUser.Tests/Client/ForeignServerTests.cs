using System.Diagnostics;
using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.VfioUser.Tests.Client;

/// <summary>
/// A server of somebody else's, whose socket <c>FABRIC_VFIO_USER_SOCKET</c> names: libvfio-user's samples are some. What every PCI device can be asked
/// is asked of it; what it tells of itself is printed.
/// </summary>
public sealed class ForeignServerTests(ITestOutputHelper output)
{
    private const string Variable = "FABRIC_VFIO_USER_SOCKET";

    [Fact]
    public async Task A_device_of_a_foreign_server_is_a_device_of_this_host()
    {
        var socket = Environment.GetEnvironmentVariable(Variable);
        Assert.SkipWhen(string.IsNullOrEmpty(socket), $"Name the socket of another vfio-user server in {Variable}.");
        await using var remote = new RemoteLab(socket!);
        var status = (await remote.FindAsync()).Status;
        output.WriteLine($"{status.Ids}, class {status.Ids.Class:x6}, resets by {string.Join(", ", status.ResetMethods)}");
        var device = await remote.OpenAsync();
        for (var region = 0; region <= RegionIndex.Config; region++)
        {
            var info = await device.GetRegionInfoAsync(region);
            output.WriteLine($"region {region}: {info.Value.Size} bytes, {info.Value.Flags}");
        }

        Assert.Equal(BitConverter.GetBytes(status.Ids.Vendor), (await device.ReadAsync(RegionIndex.Config, 0, 2)).Value.ToArray());
        var flags = await device.GetMigrationFlagsAsync();
        output.WriteLine($"migration: {(flags.IsOk ? flags.Value : flags.Error.Errno)}");
        Assert.True(flags.IsOk || flags.Error.Errno == Errno.ENOTTY);
        Assert.True((await device.MapDmaAsync(0x4000_0000, new HolderMemory(1 << 20))).IsOk);
        Assert.True((await device.ResetAsync()).IsOk == status.ResetMethods.Length > 0);
        await SignalAsync(device);
        Assert.True((await device.UnmapDmaAsync(0x4000_0000)).IsOk);
        Assert.True((await device.CloseAsync()).IsOk);
        Time(remote);
    }

    /// <summary>INTx, looped back: the server signals the eventfd that it was given.</summary>
    private static async Task SignalAsync(DeviceClient device)
    {
        if ((await device.GetIrqInfoAsync((int)IrqIndex.Intx)).Value.Count == 0)
            return;
        Assert.True((await device.SetTriggerAsync(IrqIndex.Intx, new Signals())).IsOk);
        Assert.True((await device.SetTriggerAsync(IrqIndex.Intx, null)).IsOk);
    }

    /// <summary>What a register access takes, with nothing but the client between the server and who asks.</summary>
    private void Time(RemoteLab remote)
    {
        var function = remote.Bus.Functions[0];
        var register = new byte[4];
        var took = new double[20_000];
        for (var at = 0; at < took.Length; at++)
        {
            var began = Stopwatch.GetTimestamp();
            function.ReadConfig(0, register);
            took[at] = Stopwatch.GetElapsedTime(began).TotalMicroseconds;
        }

        Array.Sort(took);
        output.WriteLine($"a register access: median {took[took.Length / 2]:F1} us, p99 {took[took.Length * 99 / 100]:F1} us");
    }
}
