namespace Fabric.Vfio.Core.Interrupts;

/// <summary>How the INTx line of a function is masked (CF-61).</summary>
internal enum IntxMasking
{
    /// <summary>By DisINTx in its COMMAND register; the line can be shared.</summary>
    Function,

    /// <summary>At the host's interrupt controller, because DisINTx does not work; the line is exclusive.</summary>
    Host,

    /// <summary>INTx is broken: DisINTx stays set, whatever happens (CF-63).</summary>
    AlwaysOff,
}
