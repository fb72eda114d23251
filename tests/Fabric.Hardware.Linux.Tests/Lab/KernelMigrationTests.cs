using Fabric.Hardware.Linux.Kernel;
using Fabric.Vfio;
using Fabric.Vfio.Migration;

namespace Fabric.Hardware.Linux.Tests.Lab;

/// <summary>A serial card of the kernel's samples that migrates, as a mediated device. In the guest alone.</summary>
[Trait(LabMachine.Trait, LabMachine.Name)]
public sealed class KernelMigrationTests(SerialCards cards) : IClassFixture<SerialCards>
{
    private const ulong ScratchRegister = 7;

    public static TheoryData<KernelInterface> Interfaces => [KernelInterface.Group, KernelInterface.Cdev];

    [Theory]
    [MemberData(nameof(Interfaces))]
    public void The_state_of_a_device_goes_through_its_data_to_another_one(KernelInterface by)
    {
        using var source = cards.Open(SerialCards.OnePort, by);
        using var target = cards.Open(SerialCards.AnotherOnePort, by);
        Assert.Equal(1, source.Write(0, ScratchRegister, [0x5a]).Value);

        Assert.Equal(MigrationFlags.StopCopy | MigrationFlags.P2P | MigrationFlags.PreCopy, new KernelMigration(source).GetFlags().Value);
        var saved = Save(source);
        Resume(target, saved);

        var read = new byte[1];
        Assert.Equal(1, target.Read(0, ScratchRegister, read).Value);
        Assert.Equal(0x5a, read[0]);
    }

    [Fact]
    public void What_is_left_to_precopy_is_told()
    {
        using var source = cards.Open(SerialCards.OnePort, KernelInterface.Cdev);
        var migration = new KernelMigration(source);

        using (var data = migration.SetState(MigrationState.PreCopy).Value!)
            Assert.NotEqual(0UL, data.GetPrecopyInfo().Value.InitialBytes);
        Assert.True(migration.SetState(MigrationState.Running).IsOk);
    }

    [Fact]
    public void The_data_of_a_card_with_one_port_is_EINVAL_to_one_with_two()
    {
        using var source = cards.Open(SerialCards.OnePort, KernelInterface.Cdev);
        using var target = cards.Open(SerialCards.TwoPorts, KernelInterface.Cdev);
        var saved = Save(source);
        var migration = new KernelMigration(target);
        Assert.True(migration.SetState(MigrationState.Stop).IsOk);
        using var data = migration.SetState(MigrationState.Resuming).Value!;

        var taken = data.Write(saved);
        Assert.True(!taken.IsOk || !migration.SetState(MigrationState.Stop).IsOk);
        Assert.Equal(VfioResult.Ok, target.Reset());
    }

    [Fact]
    public void A_way_that_there_is_not_is_EINVAL_and_the_state_stays()
    {
        using var source = cards.Open(SerialCards.OnePort, KernelInterface.Cdev);
        var migration = new KernelMigration(source);

        Assert.Equal(Errno.EINVAL, migration.SetState((MigrationState)99).Error.Errno);
        Assert.Equal(MigrationState.Running, migration.GetState().Value);
    }

    private static byte[] Save(KernelDevice device)
    {
        var migration = new KernelMigration(device);
        Assert.True(migration.SetState(MigrationState.Stop).IsOk);
        using var data = migration.SetState(MigrationState.StopCopy).Value!;
        using var saved = new MemoryStream();
        var buffer = new byte[4096];
        while (data.Read(buffer).Value is > 0 and var read)
            saved.Write(buffer, 0, read);
        Assert.True(migration.SetState(MigrationState.Stop).IsOk);
        Assert.True(migration.SetState(MigrationState.Running).IsOk);
        return saved.ToArray();
    }

    private static void Resume(KernelDevice device, byte[] saved)
    {
        var migration = new KernelMigration(device);
        Assert.True(migration.SetState(MigrationState.Stop).IsOk);
        using (var data = migration.SetState(MigrationState.Resuming).Value!)
            Assert.Equal(saved.Length, data.Write(saved).Value);
        Assert.True(migration.SetState(MigrationState.Stop).IsOk);
        Assert.True(migration.SetState(MigrationState.Running).IsOk);
    }
}

/// <summary>Cards of the kernel's mtty module, made for a class of tests.</summary>
public sealed class SerialCards : IDisposable
{
    public static readonly Guid OnePort = new("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
    public static readonly Guid AnotherOnePort = new("83b8f4f2-509f-382f-3c1e-e6bfe0fa1002");
    public static readonly Guid TwoPorts = new("83b8f4f2-509f-382f-3c1e-e6bfe0fa1003");

    private readonly KernelVfio vfio = new();
    private readonly List<Guid> made = [];

    public KernelDevice Open(Guid card, KernelInterface by)
    {
        LabMachine.Require();
        if (!made.Contains(card))
        {
            var type = card == TwoPorts ? "mtty-2" : "mtty-1";
            File.WriteAllText($"/sys/class/mdev_bus/mtty/mdev_supported_types/{type}/create", card.ToString());
            made.Add(card);
        }

        return vfio.OpenMediated(card, by).Value;
    }

    public void Dispose()
    {
        foreach (var card in made)
            File.WriteAllText($"/sys/bus/mdev/devices/{card}/remove", "1");
    }
}
