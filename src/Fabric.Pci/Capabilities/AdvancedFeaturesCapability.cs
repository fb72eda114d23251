namespace Fabric.Pci.Capabilities;

/// <summary>Advanced features of a conventional function (PCI Advanced Capabilities ECN, 2006).</summary>
/// <param name="HasFunctionLevelReset">It has FLR and can say that transactions are pending: both are needed (CF-35).</param>
public readonly record struct AdvancedFeaturesCapability(int Offset, bool HasFunctionLevelReset)
{
    public const int Capabilities = 3;
    public const int Control = 4;
    public const int Status = 5;
    public const int Length = 6;

    /// <summary>In <see cref="Control"/>.</summary>
    public const byte InitiateFunctionLevelReset = 1 << 0;

    /// <summary>In <see cref="Capabilities"/>: bit 0 says that <see cref="Status"/> tells of pending transactions, bit 1 that there is FLR.</summary>
    private const byte PendingAndReset = 0x03;

    public static AdvancedFeaturesCapability Parse(ReadOnlySpan<byte> config, int offset) =>
        new(offset, (RawConfig.Byte(config, offset + Capabilities) & PendingAndReset) == PendingAndReset);
}
