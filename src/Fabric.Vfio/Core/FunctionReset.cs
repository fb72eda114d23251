using Fabric.Pci;
using Fabric.Vfio.Core.ConfigSpace;

namespace Fabric.Vfio.Core;

/// <summary>A reset of one function as the PCI layer does it: the driver is told before and after, config space is carried over (IO-51).</summary>
internal sealed class FunctionReset
{
    private readonly IPciFunction function;
    private readonly IResetObserver? observer;
    private readonly ConfigSnapshot saved;

    private FunctionReset(IPciFunction function, IResetObserver? observer)
    {
        this.function = function;
        this.observer = observer;
        observer?.ResetPrepare();
        saved = ConfigSnapshot.Save(function);
        function.WriteCommand(PciCommand.InterruptDisable);
    }

    /// <summary>Saves config space and stops the function. It is in D0.</summary>
    public static FunctionReset Prepare(IPciFunction function, IResetObserver? observer) => new(function, observer);

    /// <summary>Restores config space, whatever became of the reset.</summary>
    public void Finish(VfioResult outcome)
    {
        saved.Restore(function);
        observer?.ResetDone(outcome);
    }

    /// <summary>The function's own reset. Errors: those of <see cref="IPciFunction.Reset"/>.</summary>
    public static VfioResult Run(IPciFunction function, IResetObserver? observer)
    {
        var reset = Prepare(function, observer);
        var outcome = function.Reset();
        reset.Finish(outcome);
        return outcome;
    }
}
