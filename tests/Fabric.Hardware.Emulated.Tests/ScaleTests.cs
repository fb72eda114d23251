using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>Tests that measure the process run alone.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;

/// <summary>Many functions, and many threads.</summary>
[Collection(nameof(Alone))]
public sealed class ScaleTests(ITestOutputHelper output)
{
    private const int Many = 100_000;

    [Fact]
    public void A_hundred_thousand_functions_are_cheap_and_each_has_its_address_and_group()
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        using var zoo = new Zoo(new EmulatedCard(EmulatedModels.Null, Many));
        var each = (GC.GetTotalMemory(forceFullCollection: true) - before) / (double)Many;
        output.WriteLine($"{each:f0} bytes a function, ports and snapshot included");

        Assert.Equal(Many, zoo.Bus.Functions.Count);
        Assert.Equal(Many, zoo.Bus.Functions.Select(function => function.Address).Distinct().Count());
        Assert.Equal(Many, zoo.Bus.Functions.Select(function => function.IommuGroup).Distinct().Count());
        Assert.Equal(["fab0", "fab1"], zoo.Addresses.Select(address => address[..4]).Distinct());
        Assert.InRange(each, 0, 256);
    }

    [Fact]
    public void A_function_pays_for_config_space_of_its_own_only_once_it_holds_something_of_its_own()
    {
        using var zoo = Zoo.With(EmulatedModels.Null);
        var function = zoo.First;
        var (raw, busMaster) = (new byte[function.ConfigSize], new[] { (byte)PciCommand.BusMaster });
        var allocated = GC.GetAllocatedBytesForCurrentThread();

        function.ReadConfig(0, raw);
        function.WriteConfig(0, raw);
        var untouched = GC.GetAllocatedBytesForCurrentThread() - allocated;
        function.WriteConfig(ConfigOffset.Command, busMaster);
        var touched = GC.GetAllocatedBytesForCurrentThread() - allocated;

        Assert.Equal(0, untouched);
        Assert.InRange(touched, function.ConfigSize, function.ConfigSize + 32);
        Assert.Equal(PciCommand.BusMaster, function.Command());
    }

    [Fact]
    public void Reads_of_config_space_and_BARs_allocate_nothing()
    {
        using var zoo = Zoo.With(EmulatedModels.MultiFunction);
        zoo.First.Command(PciCommand.MemorySpace);
        var value = new byte[4];
        zoo.First.ReadRegion(0, 0, value);
        var allocated = GC.GetAllocatedBytesForCurrentThread();

        for (var i = 0; i < 1000; i++)
        {
            zoo.First.ReadConfig(0, value);
            zoo.First.ReadRegion(0, 0, value);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - allocated);
    }

    [Fact]
    public async Task Functions_come_and_go_from_many_threads_and_every_event_is_told_once_and_in_order()
    {
        using var zoo = new Zoo(new EmulatedBusOptions(4, 3, AcceleratorState.Granule) { VirtualFunctionsAtStart = false });
        var physical = zoo.Bus.Functions.ToArray();
        var told = new List<BusEvent>();
        var (inside, overlaps) = (0, 0);
        zoo.Bus.ReportTo(happened =>
        {
            // A teller that another one may overtake has the time here to be overtaken.
            if (Interlocked.Increment(ref inside) != 1)
                Interlocked.Increment(ref overlaps);
            Thread.Yield();
            lock (told)
                told.Add(happened);
            Interlocked.Decrement(ref inside);
        });
        using var over = new CancellationTokenSource();
        var readers = Task.Factory.StartNew(
            () => ReadUntil(zoo.Bus, over.Token), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);

        await Task.WhenAll(physical.Select(function => Task.Factory.StartNew(
            () =>
            {
                for (var round = 0; round < 200; round++)
                {
                    Assert.True(function.SetVirtualFunctions(3).IsOk);
                    Assert.True(zoo.Bus.PullOut(function.Address with { Function = 2 }).IsOk);
                    Assert.True(zoo.Bus.PutBack(function.Address with { Function = 2 }).IsOk);
                    Assert.True(function.SetVirtualFunctions(0).IsOk);
                }
            },
            TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        await over.CancelAsync();
        await readers;

        Assert.Equal((4, 0), (zoo.Bus.Functions.Count, overlaps));
        Assert.Equal(4 * 200 * 8, told.Count);
        foreach (var ofOne in told.GroupBy(AddressOf))
            Assert.All(ofOne.Index(), told => Assert.Equal(told.Index % 2 == 0, told.Item is FunctionAppeared));
    }

    private static PciAddress AddressOf(BusEvent happened) => happened switch
    {
        FunctionAppeared appeared => appeared.Function.Address,
        FunctionVanished vanished => vanished.Address,
        _ => default,
    };

    /// <summary>What a reader sees is always a whole bus, in order.</summary>
    private static void ReadUntil(EmulatedBus bus, CancellationToken over)
    {
        while (!over.IsCancellationRequested)
        {
            var seen = bus.Functions;
            for (var i = 1; i < seen.Count; i++)
                Assert.True(seen[i - 1].Address < seen[i].Address);
            foreach (var function in seen)
            {
                function.Config32(0);
                bus.HotResetScopeOf(function.Address);
                bus.RecoveryScope(function.Address);
            }
        }
    }
}
