using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Config;

/// <summary>The extended capabilities that emulated functions have, as data.</summary>
internal static class ExtendedCapabilities
{
    /// <summary>
    /// PCIe 6.0, 7.8.4. Internal errors are masked and errors of the data link, overflows and malformed packets are fatal, as at power-on.
    /// Status and header log are sticky: a reset does not wipe out what it is there to explain.
    /// </summary>
    public static CapabilityLayout Aer() => CapabilityLayout.Extended(
        ExtendedCapability.Aer,
        AerRegister.Length,
        new RegisterRow(AerRegister.UncorrectableStatus, 4, ClearedByOne: AerRegister.UncorrectableErrors, Sticky: AerRegister.UncorrectableErrors),
        new RegisterRow(
            AerRegister.UncorrectableMask, 4, 1u << 22, Writable: AerRegister.UncorrectableErrors, Sticky: AerRegister.UncorrectableErrors),
        new RegisterRow(
            AerRegister.UncorrectableSeverity, 4, 0x0046_2030, Writable: AerRegister.UncorrectableErrors, Sticky: AerRegister.UncorrectableErrors),
        new RegisterRow(AerRegister.CorrectableStatus, 4, ClearedByOne: AerRegister.CorrectableErrors, Sticky: AerRegister.CorrectableErrors),
        new RegisterRow(AerRegister.CorrectableMask, 4, 1u << 13, Writable: AerRegister.CorrectableErrors, Sticky: AerRegister.CorrectableErrors),
        new RegisterRow(
            AerRegister.Control, 4, 0xa0, Writable: AerRegister.EcrcGenerationEnable | AerRegister.EcrcCheckEnable, Sticky: 0x15f),
        new RegisterRow(AerRegister.HeaderLog, 4, Sticky: uint.MaxValue),
        new RegisterRow(AerRegister.HeaderLog + 4, 4, Sticky: uint.MaxValue),
        new RegisterRow(AerRegister.HeaderLog + 8, 4, Sticky: uint.MaxValue),
        new RegisterRow(AerRegister.HeaderLog + 12, 4, Sticky: uint.MaxValue));

    /// <summary>PCIe 6.0, 9.3.3: all VFs may exist at once, one routing id after the other behind the PF's.</summary>
    public static CapabilityLayout Sriov(ushort totalVfs, ushort vfDevice, IReadOnlyList<PciBar> vfBars)
    {
        var rows = ImmutableArray.CreateBuilder<RegisterRow>();
        rows.Add(new(SriovCapability.Control, 2, Writable: SriovControl.Enable | SriovControl.MemorySpaceEnable | SriovControl.AriHierarchy));
        rows.Add(new(SriovCapability.InitialVfCount, 2, totalVfs));
        rows.Add(new(SriovCapability.TotalVfCount, 2, totalVfs));
        rows.Add(new(SriovCapability.NumVfs, 2, Writable: ushort.MaxValue));
        rows.Add(new(SriovCapability.FirstVfOffset, 2, 1));
        rows.Add(new(SriovCapability.VfStride, 2, 1));
        rows.Add(new(SriovCapability.VfDevice, 2, vfDevice));
        rows.Add(new(0x1c, 4, SupportedPageSizes));
        rows.Add(new(SriovCapability.SystemPageSize, 4, 1, Writable: SupportedPageSizes));
        rows.AddRange(BaseAddressRows.Of(vfBars, SriovCapability.VfBar0));
        return new CapabilityLayout((ushort)ExtendedCapability.Sriov, 1, IsExtended: true, SriovCapability.Length, rows.ToImmutable());
    }

    /// <summary>4 KiB, 8 KiB, 64 KiB, 256 KiB, 1 MiB, 4 MiB: those that every PF must support.</summary>
    private const uint SupportedPageSizes = 0x553;

    /// <summary>PCIe 6.0, 7.7.8: source validation, and redirection of requests and completions.</summary>
    public static CapabilityLayout AccessControl() => CapabilityLayout.Extended(
        ExtendedCapability.AccessControl, 8, new RegisterRow(4, 2, 0x1f), new RegisterRow(6, 2, Writable: 0x1f));

    /// <summary>PCIe 6.0, 7.8.7.</summary>
    /// <param name="nextFunction">The next function of the device; 0 for the last.</param>
    public static CapabilityLayout AlternativeRoutingId(byte nextFunction = 0) => CapabilityLayout.Extended(
        ExtendedCapability.AlternativeRoutingId, 8, new RegisterRow(4, 2, (uint)nextFunction << 8), new RegisterRow(6, 2));

    /// <summary>PCIe 6.0, 7.9.3.</summary>
    public static CapabilityLayout SerialNumber(ulong number) => CapabilityLayout.Extended(
        ExtendedCapability.DeviceSerialNumber, 12, new RegisterRow(4, 4, (uint)number), new RegisterRow(8, 4, (uint)(number >> 32)));
}

/// <summary>Bits of the SR-IOV control register (PCIe 6.0, 9.3.3.3).</summary>
internal static class SriovControl
{
    public const ushort Enable = 1 << 0;
    public const ushort MemorySpaceEnable = 1 << 3;
    public const ushort AriHierarchy = 1 << 4;
}

/// <summary>Six BARs as registers: which bits take a write says how large each is (PCI Local Bus 3.0, 6.2.5.1).</summary>
internal static class BaseAddressRows
{
    public static IEnumerable<RegisterRow> Of(IReadOnlyList<PciBar> bars, int first)
    {
        for (var bar = 0; bar < ConfigOffset.BarCount; bar++)
        {
            var at = first + (4 * bar);
            var mask = bars[bar].Size == 0 ? 0 : ~(bars[bar].Size - 1);
            switch (bars[bar].Kind)
            {
                case BarKind.Io:
                    yield return new(at, 4, BarBits.Io, Writable: (uint)mask & BarBits.IoAddress);
                    break;
                case BarKind.Memory32:
                    yield return new(at, 4, Prefetch(bars[bar]), Writable: (uint)mask & BarBits.MemoryAddress);
                    break;
                case BarKind.Memory64:
                    yield return new(at, 4, BarBits.Memory64 | Prefetch(bars[bar]), Writable: (uint)mask & BarBits.MemoryAddress);
                    yield return new(at + 4, 4, Writable: (uint)(mask >> 32));
                    bar++;
                    break;
                case BarKind.None:
                default:
                    break;
            }
        }
    }

    private static uint Prefetch(PciBar bar) => bar.Prefetchable ? BarBits.Prefetchable : 0;
}
