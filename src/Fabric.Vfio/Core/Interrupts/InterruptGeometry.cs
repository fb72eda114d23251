namespace Fabric.Vfio.Core.Interrupts;

/// <summary>How many interrupts a device has, fixed at open (IO-30).</summary>
/// <param name="Pin">The virtual interrupt pin is not 0 (contract §3.2).</param>
/// <param name="MsiVectors">2 to the power of multiple-message-capable; 0 without the capability.</param>
/// <param name="MsixTableSize">Entries of the MSI-X table; 0 without the capability.</param>
internal readonly record struct InterruptGeometry(bool Pin, int MsiVectors, int MsixTableSize);
