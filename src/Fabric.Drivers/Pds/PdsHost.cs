using Fabric.Hardware.Specs.Pds;
using Fabric.Vfio;

namespace Fabric.Drivers.Pds;

/// <summary>Why the host has something to do with a VF.</summary>
[Flags]
internal enum PdsActivity
{
    None = 0,
    Migrating = 1,
    Logging = 2,
}

/// <summary>What firmware is told of the host: IN_PROGRESS from when migration or logging starts, NONE when both have ended (VD-PDS-1).</summary>
internal sealed class PdsHost(PdsCommands device)
{
    private PdsActivity activity;

    /// <summary>Errors: those of the card, and then nothing has begun.</summary>
    public VfioResult Begin(PdsActivity begun)
    {
        var told = activity == PdsActivity.None ? device.TellStatus(PdsHostStatus.InProgress) : VfioResult.Ok;
        if (told.IsOk)
            activity |= begun;
        return told;
    }

    /// <summary>Firmware that does not hear it any more has forgotten what it was told of.</summary>
    public void End(PdsActivity ended)
    {
        if (activity == PdsActivity.None)
            return;
        activity &= ~ended;
        if (activity == PdsActivity.None)
            device.TellStatus(PdsHostStatus.None);
    }
}
