using System.Collections.Immutable;
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

    /// <summary>The function's own reset, config space carried over. Errors: those of <see cref="Try"/>.</summary>
    public static VfioResult Run(IPciFunction function, ImmutableArray<string> methods, IResetObserver? observer)
    {
        var reset = Prepare(function, observer);
        var outcome = Try(function, methods);
        reset.Finish(outcome);
        return outcome;
    }

    /// <summary>
    /// The first method that the function has; what that came to (IO-51). Errors: ENOTTY without a method, and those of
    /// <see cref="IPciFunction.Reset"/>.
    /// </summary>
    public static VfioResult Try(IPciFunction function, ImmutableArray<string> methods)
    {
        foreach (var method in methods)
        {
            var outcome = function.Reset(method);
            if (outcome.Error.Errno != Errno.ENOTTY)
                return outcome;
        }

        return ResetMethod.Missing;
    }
}
