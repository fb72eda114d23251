using Fabric.Pci;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>What config space asked of the rest of the core, in order.</summary>
internal sealed class RecordedEffects : IConfigEffects
{
    public Lock CommandGate { get; } = new();

    public List<string> Calls { get; } = [];

    public Action<string> OnCall { get; set; } = _ => { };

    public bool IsMsiActive { get; set; }

    public int MsiQueueMax { get; set; }

    public void BlockMemory() => Note("block");

    public void UnblockMemory() => Note("unblock");

    public void SetIntxDisabled(bool disabled) => Note(disabled ? "INTx off" : "INTx on");

    public void ChangePowerState(PciPowerState state) => Note($"{state}");

    public void ResetFunction() => Note("reset");

    private void Note(string call)
    {
        Calls.Add(call);
        OnCall(call);
    }
}
