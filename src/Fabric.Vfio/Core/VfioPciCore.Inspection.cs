using System.Collections.Immutable;
using System.Globalization;
using Fabric.Pci;
using Fabric.Vfio.Core.Inspection;

namespace Fabric.Vfio.Core;

/// <summary>The whole state, to be read (contract §11.1), and the laws that it keeps (contract §11.2).</summary>
public sealed partial class VfioPciCore
{
    /// <summary>All state variables of the device, by their names in the code. Changes nothing, wakes nothing.</summary>
    public InspectNode Inspect() => InspectNode.Tree(
        Address.ToString(),
        InspectNode.Leaf("driver", Driver.Name),
        InspectNode.Leaf("registration", Registration.ToString()),
        InspectNode.Leaf("iommu group", IommuGroup is { } group ? group.ToString(CultureInfo.InvariantCulture) : "none"),
        new InspectNode("hardware", null, [.. function.Facts.Select(static fact => InspectNode.Leaf(fact.Name, fact.Value))]),
        InspectSet(),
        InspectNode.Leaf("open", session is null ? "no" : session.IsFinished ? "yes" : "enabled"),
        InspectNode.Leaf("references", References),
        InspectNode.Leaf("reset works", ResetWorks),
        InspectNode.Leaf("needs reset", NeedsReset),
        InspectPower(),
        InspectSriov(),
        InspectMemory(),
        InspectNode.Leaf("dma mappings", DmaMappings),
        InspectBars(),
        InspectSession());

    private InspectNode InspectSet() => new(
        "device set", Set.Key.ToString(), [.. Set.Members.Select(static member => InspectNode.Leaf("member", member.Address.ToString()))]);

    private InspectNode InspectPower() => InspectNode.Tree(
        "power",
        InspectNode.Leaf("state", runtime.IsSuspended ? "suspended" : power.Current.ToString()),
        InspectNode.Leaf("users", runtime.Users),
        InspectNode.Leaf("low power engaged", runtime.IsEngaged),
        InspectNode.Leaf("wake target", runtime.HasWakeTarget),
        InspectNode.Leaf("loses config in D3hot", power.LosesConfig));

    private InspectNode InspectSriov() => InspectNode.Tree(
        "sriov",
        InspectNode.Leaf("active", IsSriovActive),
        InspectNode.Leaf("vfs", VirtualFunctions),
        InspectNode.Leaf("physical function", PhysicalFunction?.Address.ToString() ?? "none"),
        InspectNode.Leaf("vf token", token is null ? "none" : "set"),
        InspectNode.Leaf("vf token users", TokenUsers));

    private InspectNode InspectMemory() => InspectNode.Tree(
        "memory",
        InspectNode.Leaf("usable", IsMemoryUsable),
        InspectNode.Leaf("blocked by", session?.Gate.Blocks.ToString() ?? MemoryBlocks.Session.ToString()),
        InspectNode.Hex("command", (ushort)function.ReadCommand()));

    private InspectNode InspectBars() => new(
        "bars", null, [.. Enumerable.Range(0, bars.Length).Where(bar => bars[bar].Size != 0).Select(InspectBar)]);

    private InspectNode InspectBar(int bar) => InspectNode.Tree(
        string.Create(CultureInfo.InvariantCulture, $"bar {bar}"),
        InspectNode.Leaf("kind", bars[bar].Kind.ToString()),
        InspectNode.Hex("size", bars[bar].Size),
        InspectNode.Leaf("claim", session?.Regions.ClaimOf(bar) is { Errno: not Errno.None } failed ? failed.Errno.ToString() : "ok"),
        InspectNode.Leaf("mappable", session?.Regions.IsMappable(bar) ?? false));

    private InspectNode InspectSession()
    {
        if (session is not { } open)
            return InspectNode.Leaf("session", "none");
        return InspectNode.Tree(
            "session",
            InspectNode.Leaf("irq type", open.Interrupts.Active?.ToString() ?? "none"),
            InspectNode.Leaf("interrupts", open.Interrupts.Inspect().ToString()),
            InspectNode.Leaf("ioeventfds", open.IoEventFds.Count),
            new InspectNode("device regions", null, [.. open.DeviceRegions.Select(static added => InspectNode.Hex(
                string.Create(CultureInfo.InvariantCulture, $"region {added.Info.Index}"), added.Info.Size))]),
            new InspectNode("dma buffers", null, [.. open.DmaBufs.All.Select(static buffer => InspectNode.Leaf(
                string.Create(CultureInfo.InvariantCulture, $"bar {buffer.Bar}"), buffer.IsRevoked ? "revoked" : "usable"))]),
            new InspectNode("config", null, [.. open.Config.Inspect().Select(static register => InspectNode.Leaf(register.Name, register.Value))]));
    }

    /// <summary>The ids of the laws of contract §11.2 that do not hold; empty when all is well. Cheap enough for every step.</summary>
    public ImmutableArray<string> CheckInvariants()
    {
        var broken = ImmutableArray<string>.Empty;
        if (session is { } open)
        {
            var memoryOff = !IsMemoryUsable || runtime.IsEngaged;
            if (memoryOff && (open.Gate.Blocks == MemoryBlocks.None || !open.DmaBufs.AllRevoked))
                broken = broken.Add("INV-1");
            if (open.Interrupts.BrokenInvariant() is not null)
                broken = broken.Add("INV-2");
        }
        else if (DmaMappings > 0 || runtime.IsEngaged || (!runtime.IsSuspended && (function.ReadCommand() & PciCommand.BusMaster) != 0))
        {
            broken = broken.Add("INV-3");
        }

        if (token is not null && token.Users != OpenVirtualFunctions())
            broken = broken.Add("INV-5");
        if (IsSriovActive && (power.Current != PciPowerState.D0 || runtime.IsSuspended))
            broken = broken.Add("INV-6");
        if (Registration == RegistrationState.Unregistered && References > 0)
            broken = broken.Add("INV-10");
        return broken;
    }

    private int OpenVirtualFunctions() => devices.VirtualFunctionsOf(this).Count(static device => device.IsOpen);
}
