using Fabric.Pci;

namespace Fabric.Hardware.Emulated.Faults;

/// <summary>The errors that are injected, one of each severity (PCIe 6.0, 7.8.4).</summary>
internal static class AerErrors
{
    /// <summary>In the control register: the number of the first uncorrectable error.</summary>
    public const uint FirstErrorPointer = 0x1f;

    /// <param name="Bit">In the status register of its severity.</param>
    /// <param name="Poisoned">The logged packet says of itself that its data is bad.</param>
    public readonly record struct Kind(uint Bit, bool Poisoned)
    {
        /// <summary>A posted write of one dword that the function received: 64-bit memory write, its own routing id as the requester's.</summary>
        public AerHeaderLog HeaderOf(PciAddress function) =>
            new(0x6000_0001u | (Poisoned ? 1u << 14 : 0), ((uint)function.RoutingId << 16) | 0x0f, 0x0000_0001, 0xfee0_0000);
    }

    public static Kind Of(AerSeverity severity) => severity switch
    {
        AerSeverity.Correctable => new Kind(ReceiverError, Poisoned: false),
        AerSeverity.NonFatal => new Kind(PoisonedPacket, Poisoned: true),
        _ => new Kind(MalformedPacket, Poisoned: false),
    };

    private const uint ReceiverError = 1 << 0;
    private const uint PoisonedPacket = 1 << 12;
    private const uint MalformedPacket = 1 << 18;
}
