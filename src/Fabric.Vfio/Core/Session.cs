using System.Collections.Immutable;
using Fabric.Vfio.Core.ConfigSpace;
using Fabric.Vfio.Core.Interrupts;

namespace Fabric.Vfio.Core;

/// <summary>All that a device has only while it is open (INV-3): made by enable, dropped by disable.</summary>
internal sealed class Session
{
    public required MemoryGate Gate { get; init; }

    public required RegionAccess Regions { get; init; }

    public required VirtualConfig Config { get; init; }

    public required DeviceInterrupts Interrupts { get; init; }

    public required IoEventFds IoEventFds { get; init; }

    public required DmaBufs DmaBufs { get; init; }

    /// <summary>Config space as it was after the reset at open (LC-20).</summary>
    public required ConfigSnapshot Saved { get; init; }

    /// <summary>What drivers added (contract §2.3, index 9 and above).</summary>
    public ImmutableArray<DeviceRegion> DeviceRegions { get; set; } = [];

    /// <summary>The second phase of opening is done (LC-23).</summary>
    public bool IsFinished { get; set; }
}
