using Fabric.Devices;
using Fabric.Node.Configuration;
using Fabric.Node.Hosting;

namespace Fabric.Node.Tests.Hosting;

public sealed class DeviceOptionsTests
{
    [Fact]
    public void The_settings_defaults_are_those_of_the_devices_but_that_emulated_PFs_make_VFs_SV_5()
    {
        var options = HostSystem.DeviceOptionsOf(new DevicesSettings());

        Assert.True(options.Core.EnableSriov);
        Assert.Equal(DeviceOptions.Default, options with { Core = DeviceOptions.Default.Core });
    }

    [Fact]
    public void A_server_that_is_silent_is_given_up_before_its_device_is_taken_for_hung()
    {
        var settings = new DevicesSettings { CallDeadline = "10s", SlowCallDeadline = "100s" };
        var (client, devices) = (HostBus.ClientOptionsOf(settings, TimeProvider.System), HostSystem.DeviceOptionsOf(settings));

        Assert.Equal((6, 80), (client.RequestDeadline.TotalSeconds, client.SlowDeadline.TotalSeconds));
        Assert.True(client.RequestDeadline < devices.CallDeadline && client.SlowDeadline < devices.SlowCallDeadline);
    }

    [Fact]
    public void Every_setting_of_devices_reaches_them()
    {
        var settings = SettingsLoader.Load(null, [
            "--node:name=one", "--node:roles:0=control", "--devices:callDeadline=1s", "--devices:slowCallDeadline=2s", "--devices:turnDeadline=3s",
            "--devices:voteDeadline=4s", "--devices:restartBudget=6", "--devices:freezeBudget=7", "--devices:budgetWindow=8min",
            "--devices:retryContention:tries=9", "--devices:retryContention:delay=10ms", "--devices:retryContention:factor=3",
            "--devices:resetOrder:0=bus", "--devices:resetOrder:1=flr", "--devices:errorInterval=11ms", "--devices:concurrentProbes=12",
        ]);

        var options = HostSystem.DeviceOptionsOf(settings.Devices);

        Assert.Equal((1, 2), (options.CallDeadline.TotalSeconds, options.SlowCallDeadline.TotalSeconds));
        Assert.Equal((3, 4), (options.TurnDeadline.TotalSeconds, options.VoteDeadline.TotalSeconds));
        Assert.Equal((6, 7, 8), (options.RestartBudget, options.FreezeBudget, options.BudgetWindow.TotalMinutes));
        Assert.Equal(new RetryPolicy(9, TimeSpan.FromMilliseconds(10), 3), options.RetryContention);
        Assert.Equal(["bus", "flr"], options.ResetOrder!.Value);
        Assert.Equal((11, 12), (options.ErrorInterval.TotalMilliseconds, options.ConcurrentProbes));
    }
}
