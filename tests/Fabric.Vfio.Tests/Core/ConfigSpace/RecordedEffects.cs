using Fabric.Pci;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>What config space asked of the rest of the core, in order.</summary>
internal sealed class RecordedEffects : IConfigEffects
{
    /// <summary>Made once: the runtime forgets names of enums now and then, and tests count what is allocated.</summary>
    private static readonly string[] States = [.. Enum.GetValues<PciPowerState>().Select(state => $"{state}")];

    public Lock CommandGate { get; } = new();

    public List<string> Calls { get; } = [];

    public Action<string> OnCall { get; set; } = _ => { };

    public bool IsMsiActive { get; set; }

    public int MsiQueueMax { get; set; }

    public void BlockMemory() => Note("block");

    public void UnblockMemory() => Note("unblock");

    public void SetIntxDisabled(bool disabled) => Note(disabled ? "INTx off" : "INTx on");

    public void ChangePowerState(PciPowerState state) => Note(States[(int)state]);

    public void ResetFunction() => Note("reset");

    private void Note(string call)
    {
        Calls.Add(call);
        OnCall(call);
    }
}
