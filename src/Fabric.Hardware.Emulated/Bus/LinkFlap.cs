using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Hardware.Emulated;

/// <summary>A link that goes down and comes back, again and again. Its turns are the bus's to take, under the bus's lock.</summary>
/// <param name="functions">What hangs on the link, less VFs: those go with their PF.</param>
internal sealed class LinkFlap(EmulatedPort port, ImmutableArray<PciAddress> functions, int times) : IDisposable
{
    /// <summary>Downs and ups that are still to come.</summary>
    private int turns = 2 * times;

    public EmulatedPort Port => port;

    public ImmutableArray<PciAddress> Functions => functions;

    public ITimer? Timer { get; set; }

    public bool IsOver => turns == 0;

    /// <summary>Takes the next turn: true for down, false for up.</summary>
    public bool GoesDown() => turns-- % 2 == 0;

    public void Dispose() => Timer?.Dispose();
}
