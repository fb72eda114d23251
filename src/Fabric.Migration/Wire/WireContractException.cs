namespace Fabric.Migration.Wire;

/// <summary>The message types cannot form a wire contract. The message holds one sentence per fault, each naming type and member.</summary>
public sealed class WireContractException(IReadOnlyList<string> faults) : Exception(string.Join(Environment.NewLine, faults))
{
    /// <summary>One sentence per fault, in the order in which they were met.</summary>
    public IReadOnlyList<string> Faults { get; } = faults;
}
