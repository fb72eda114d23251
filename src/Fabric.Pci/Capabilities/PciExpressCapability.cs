namespace Fabric.Pci.Capabilities;

/// <summary>Kinds of PCI Express function (PCIe 6.0, 7.5.3.2); what no endpoint has is not named.</summary>
public enum PciExpressType
{
    Endpoint = 0,
    LegacyEndpoint = 1,
    RootPort = 4,
    UpstreamPort = 5,
    DownstreamPort = 6,
    RootComplexEndpoint = 9,
    RootComplexEventCollector = 10,
}

/// <summary>The PCI Express capability (PCIe 6.0, 7.5.3).</summary>
/// <param name="Version">Of the structure: 1, or 2 and more, which add the second set of registers.</param>
/// <param name="HasFunctionLevelReset">DevCap says that FLR works (CF-33).</param>
public readonly record struct PciExpressCapability(int Offset, int Version, PciExpressType Type, bool HasFunctionLevelReset)
{
    public const int Flags = 0x02;
    public const int DeviceCapabilities = 0x04;
    public const int DeviceControl = 0x08;
    public const int DeviceStatus = 0x0a;
    public const int LinkControl = 0x10;
    public const int DeviceControl2 = 0x28;
    public const int LinkControl2 = 0x30;

    /// <summary>In <see cref="DeviceControl"/>: log2 of the largest payload over 128 bytes.</summary>
    public const ushort MaxPayload = 0x00e0;

    public const ushort PhantomFunctions = 1 << 9;

    /// <summary>In <see cref="DeviceControl"/>: log2 of the largest read request over 128 bytes.</summary>
    public const ushort MaxReadRequest = 0x7000;

    public const ushort InitiateFunctionLevelReset = 1 << 15;
    public const int MaxPayloadShift = 5;
    public const int MaxReadRequestShift = 12;

    /// <summary>The largest encoding of a payload or a read request: 4096 bytes. Greater ones are reserved.</summary>
    public const int LargestRequest = 5;

    /// <summary>In <see cref="DeviceControl2"/>.</summary>
    public const ushort AriForwarding = 1 << 5;

    private const uint FunctionLevelResetCapable = 1 << 28;

    /// <summary>Bytes: 12 or 20 in version 1, 44 or 52 in later ones. The endpoints of a root complex have no link (CF-32).</summary>
    public int Length => (Version, Type) switch
    {
        (1, PciExpressType.RootComplexEndpoint) => 12,
        (1, _) => 20,
        (_, PciExpressType.RootComplexEndpoint) => 44,
        _ => 52,
    };

    public static PciExpressCapability Parse(ReadOnlySpan<byte> config, int offset)
    {
        var flags = RawConfig.Word(config, offset + Flags);
        var capable = (RawConfig.Dword(config, offset + DeviceCapabilities) & FunctionLevelResetCapable) != 0;
        return new PciExpressCapability(offset, flags & 0xf, (PciExpressType)((flags >> 4) & 0xf), capable);
    }
}
