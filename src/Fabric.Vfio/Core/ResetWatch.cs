namespace Fabric.Vfio.Core;

/// <summary>Knows whether a function is being reset, and tells its driver (IO-51).</summary>
internal sealed class ResetWatch(IResetObserver? driver) : IResetObserver
{
    public bool IsResetting { get; private set; }

    public void ResetPrepare()
    {
        IsResetting = true;
        driver?.ResetPrepare();
    }

    public void ResetDone(VfioResult outcome)
    {
        IsResetting = false;
        driver?.ResetDone(outcome);
    }
}
