using System.Collections.Immutable;
using Fabric.Devices.Drivers;
using Fabric.Drivers.Accelerator;
using Fabric.Drivers.Displays;
using Fabric.Drivers.HisiAcc;
using Fabric.Drivers.Igd;
using Fabric.Drivers.Ism;
using Fabric.Drivers.Mlx5;
using Fabric.Drivers.Mtty;
using Fabric.Drivers.NvGrace;
using Fabric.Drivers.Pds;
using Fabric.Drivers.Qat;
using Fabric.Drivers.Virtio;
using Fabric.Drivers.Xe;
using Fabric.Drivers.Zpci;

namespace Fabric.Drivers;

/// <summary>The variant drivers in the box.</summary>
public static class BuiltInDrivers
{
    public static ImmutableArray<DriverRegistration> All { get; } =
    [
        AcceleratorDriver.Registration,
        .. HisiAccDriver.Registrations,
        IgdDriver.Registration,
        IsmDriver.Registration,
        MbochsDriver.Registration,
        MdpyDriver.Registration,
        Mlx5Driver.Registration,
        MttyDriver.Registration,
        .. NvGraceDriver.Registrations,
        PdsDriver.Registration,
        .. QatDriver.Registrations,
        .. VirtioDriver.Registrations,
        XeDriver.Registration,
        ZpciDriver.Registration,
    ];
}
