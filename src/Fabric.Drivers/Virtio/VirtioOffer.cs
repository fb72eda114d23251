using System.Collections.Immutable;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.Virtio;

namespace Fabric.Drivers.Virtio;

/// <summary>What a VF's PF offers for it: found at probe, and kept whatever becomes of the PF (VD-VIR-1).</summary>
/// <param name="Migrates">It takes the commands about device parts.</param>
/// <param name="Legacy">It takes those of legacy access, and the VF has no BAR 0 of its own; else null.</param>
/// <param name="NotifyBar">The BAR that takes legacy notifications; null for none.</param>
internal sealed record VirtioOffer(VirtioCommands Commands, bool Migrates, VirtioLegacyIo? Legacy, int? NotifyBar)
{
    public ImmutableArray<int> MappedBars => NotifyBar is { } bar ? [bar] : [];

    /// <summary>Null where there is nothing for a driver to do: a PF, a VF without its PF's driver, a PF that takes none of the commands.</summary>
    public static VirtioOffer? Find(DriverContext context)
    {
        if (context.Platform.PhysicalFunction is not { Protocol: VirtioAdmin.Protocol } channel)
            return null;
        var commands = new VirtioCommands(channel);
        if (commands.List() is not { IsOk: true, Value: var list })
            return null;
        var migrates = Has(VirtioAdmin.PartsCommands);
        if (!Has(VirtioAdmin.LegacyCommands) || context.Bars is [{ Size: > 0 }, ..])
            return migrates ? new VirtioOffer(commands, migrates, null, null) : null;
        var notify = commands.FindNotify();
        return new VirtioOffer(commands, migrates, new VirtioLegacyIo(context.Ids, commands, notify?.Offset ?? 0), notify?.Bar);

        bool Has(ulong needed) => (list & needed) == needed;
    }
}
