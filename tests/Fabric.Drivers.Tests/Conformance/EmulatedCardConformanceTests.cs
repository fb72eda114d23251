using System.Buffers.Binary;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Conformance;
using Fabric.Hardware.Emulated;
using Fabric.Hardware.Emulated.Mdev;
using Fabric.Hardware.Specs.Mlx5;
using Fabric.Hardware.Specs.Pds;
using Fabric.Hardware.Specs.Qat;
using Fabric.Hardware.Specs.Xe;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Drivers.Tests.Conformance;

/// <summary>A VF of an emulated card and the driver in the box that takes it, with a guest that does nothing.</summary>
public abstract class CommandedVfConformance(string model) : MigratingDriverConformance
{
    protected override DriverRegistration Registration => EmulatedCardFunctions.DriverOf(Create(TimeProvider.System).Function);

    protected override int GuestMemoryBytes => 1 << 16;

    protected override TestedDevice Create(TimeProvider time) =>
        EmulatedCardFunctions.First(new EmulatedCard(model, VirtualFunctions: 1), time, static function => function.IsVirtualFunction);
}

/// <summary>A VF with memory behind a BAR, which its guest writes here and there.</summary>
public abstract class MemoryVfConformance(string model, int bar, int bytes) : CommandedVfConformance(model)
{
    private const int MostAtOnce = 300;

    protected override async Task WorkAsync(GuestDevice guest, Random random)
    {
        for (var writes = random.Next(1, 20); writes > 0; writes--)
        {
            var data = new byte[random.Next(1, MostAtOnce)];
            random.NextBytes(data);
            await guest.WriteAsync(bar, (ulong)random.Next(bytes - data.Length), data);
        }
    }

    protected override Task<byte[]> ReadStateAsync(GuestDevice guest) => guest.ReadAsync(bar, 0, bytes);
}

/// <summary>A function of an emulated host and the driver in the box that takes it, with a guest that does nothing.</summary>
public abstract class EmulatedFunctionConformance(string model) : DriverConformance
{
    protected override DriverRegistration Registration => EmulatedCardFunctions.DriverOf(Create(TimeProvider.System).Function);

    protected override TestedDevice Create(TimeProvider time) =>
        EmulatedCardFunctions.First(new EmulatedCard(model), time, EmulatedCardFunctions.HasDriver);
}

public sealed class Mlx5ConformanceTests() : MemoryVfConformance(EmulatedModels.Mlx5, Mlx5Bar.Memory, 256 << 10);

public sealed class XeConformanceTests() : MemoryVfConformance(EmulatedModels.Xe, XeBar.Vram, 256 << 10);

public sealed class VirtioNetConformanceTests() : CommandedVfConformance(EmulatedModels.VirtioNet);

public sealed class VirtioBlockConformanceTests() : CommandedVfConformance(EmulatedModels.VirtioBlock);

public sealed class PdsConformanceTests() : MemoryVfConformance(EmulatedModels.Pds, PdsBar.Memory, PdsBar.MemoryBytes);

/// <summary>Its guest sets rings up, and gives no jobs.</summary>
public sealed class QatConformanceTests() : CommandedVfConformance(EmulatedModels.Qat)
{
    protected override async Task WorkAsync(GuestDevice guest, Random random)
    {
        for (var bank = 0; bank < QatBank.Count; bank++)
        {
            await WriteAsync(guest, (bank * QatBank.Bytes) + QatBank.RequestIova, GuestDevice.MemoryIova + (ulong)random.Next(16) * 64);
            await WriteAsync(guest, (bank * QatBank.Bytes) + QatBank.ResponseIova, GuestDevice.MemoryIova + (ulong)random.Next(16) * 64);
        }
    }

    protected override async Task<byte[]> ReadStateAsync(GuestDevice guest)
    {
        var seen = new List<byte>();
        for (var bank = 0; bank < QatBank.Count; bank++)
            seen.AddRange(await guest.ReadAsync(QatBar.Rings, (ulong)(bank * QatBank.Bytes), 2 * sizeof(ulong)));
        return [.. seen];
    }

    private static Task WriteAsync(GuestDevice guest, int offset, ulong value)
    {
        var bytes = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return guest.WriteAsync(QatBar.Rings, (ulong)offset, bytes);
    }
}

public sealed class IgdConformanceTests() : EmulatedFunctionConformance(EmulatedModels.Igd);

public sealed class ZpciConformanceTests() : EmulatedFunctionConformance(EmulatedModels.Zpci);

public sealed class IsmConformanceTests() : EmulatedFunctionConformance(EmulatedModels.Ism);

public sealed class NvGraceConformanceTests() : EmulatedFunctionConformance(EmulatedModels.GraceHopper);

/// <summary>A mediated display and its driver.</summary>
public abstract class MediatedDisplayConformance(string parent) : DriverConformance
{
    protected override DriverRegistration Registration => EmulatedCardFunctions.DriverOf(Create(TimeProvider.System).Function);

    protected override TestedDevice Create(TimeProvider time)
    {
        var offered = EmulatedMdevParents.Create(parent);
        return new TestedDevice(offered.Create(offered.Types[0].Id, Guid.NewGuid(), new PciAddress(0xfabd, 1, 0, 0)).Value);
    }
}

public sealed class MdpyConformanceTests() : MediatedDisplayConformance("mdpy");

public sealed class MbochsConformanceTests() : MediatedDisplayConformance("mbochs");

internal static class EmulatedCardFunctions
{
    public static TestedDevice First(EmulatedCard card, TimeProvider time, Func<IPciFunction, bool> condition)
    {
        var bus = new EmulatedBus(new EmulatedBusOptions(0, 0, 0) { Cards = [card] }, time);
        return new TestedDevice(bus.Functions.First(condition)) { Bus = bus };
    }

    public static DriverRegistration DriverOf(IPciFunction function) =>
        BuiltInDrivers.All.First(driver => driver.Match(function.Ids, overridden: true) is not null);

    public static bool HasDriver(IPciFunction function) => BuiltInDrivers.All.Any(driver => driver.Match(function.Ids, overridden: true) is not null);
}
