using System.Collections.Immutable;

namespace Fabric.Hardware.Emulated;

/// <summary>What an emulated host has.</summary>
/// <param name="Accelerators">Cards, each a physical function on a port of its own; at most 16.</param>
/// <param name="FunctionsPerAccelerator">Virtual functions of each card; at most 7.</param>
/// <param name="StateBytes">Device state of each virtual function, bytes.</param>
public sealed record EmulatedBusOptions(int Accelerators, int FunctionsPerAccelerator, long StateBytes)
{
    /// <summary>
    /// The VFs of <see cref="Accelerators"/> are there from the start and stay, whatever the PF's SR-IOV capability says: its VF Enable reads 0,
    /// and asked to make VFs it answers EBUSY. False: the host makes them, through SR-IOV.
    /// </summary>
    public bool VirtualFunctionsAtStart { get; init; } = true;

    /// <summary>Cards beside the accelerators, by model (<see cref="EmulatedModels"/>), in the order of their buses.</summary>
    public ImmutableArray<EmulatedCard> Cards { get; init; } = [];
}

/// <param name="Model">One of <see cref="EmulatedModels.All"/>.</param>
/// <param name="Count">How many of them.</param>
/// <param name="Fault">What is wrong with the resets of its functions; null for what the model says.</param>
/// <param name="VirtualFunctions">VFs that its PF's own driver has made at the start; 0 where the host makes them, and of models without SR-IOV.</param>
public sealed record EmulatedCard(string Model, int Count = 1, ResetFault? Fault = null, int VirtualFunctions = 0);
