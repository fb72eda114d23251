using System.Collections.Frozen;
using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Specs.Ism;
using Fabric.Hardware.Specs.Zpci;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.S390;

/// <summary>Functions of an s390 host: as others, with what its firmware tells of them.</summary>
internal static class S390Models
{
    /// <summary>Of one store or load.</summary>
    public const int StoreBlock = 128;

    private const ulong IsmBytes = 0x10000;

    private static readonly PciBar[] Registers =
        [new(BarKind.Memory64, 0x1000), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    private static readonly PciBar[] SharedMemory =
        [new(BarKind.Memory64, 0x1000), PciBar.None, new(BarKind.Memory64, IsmBytes), PciBar.None, PciBar.None, PciBar.None];

    public static FunctionModel Zpci { get; } = Of(new PciIds(ZpciIds.Vendor, ZpciIds.Device, ZpciIds.Vendor, 1, 0x020000), Registers, "10.13.0c"u8);

    public static FunctionModel Ism { get; } = Of(new PciIds(IsmRules.Vendor, IsmRules.Device, IsmRules.Vendor, 1, 0xff0000), SharedMemory, "ism"u8);

    private static FunctionModel Of(PciIds ids, PciBar[] bars, ReadOnlySpan<byte> utility)
    {
        var header = HeaderLayout.Endpoint(ids, bars, rom: default, pin: 0, hasInterruptDisable: true, isMultiFunction: false);
        var layout = ConfigLayout.Of(
            header,
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true), StandardCapabilities.Msi(1, is64Bit: true, hasMask: false),
            ExtendedCapabilities.Aer());
        return new FunctionModel(ids, layout) { Bars = bars, ResetMethods = [ResetMethod.FunctionLevel], Platform = Firmware(utility.ToArray()) };
    }

    private static FirmwareTable Firmware(byte[] utility) => new(
        new Dictionary<string, ulong>
        {
            [ZpciProperties.StartDma] = 0x1_0000_0000,
            [ZpciProperties.EndDma] = 0x1ff_ffff_ffff,
            [ZpciProperties.Pchid] = 0x13c,
            [ZpciProperties.Vfn] = 1,
            [ZpciProperties.FmbLength] = 192,
            [ZpciProperties.Pft] = 0x0a,
            [ZpciProperties.Gid] = 0x11,
            [ZpciProperties.FunctionHandle] = 0x8000_0042,
            [ZpciProperties.Dasm] = 0xffff_ffff_f000,
            [ZpciProperties.MsiAddress] = 0xfe00_0000,
            [ZpciProperties.Refresh] = 1,
            [ZpciProperties.Mui] = 4000,
            [ZpciProperties.Noi] = 1024,
            [ZpciProperties.MaxStoreBlock] = StoreBlock,
            [ZpciProperties.Version] = 1,
        }.ToFrozenDictionary(),
        new Dictionary<string, byte[]> { [ZpciProperties.UtilityString] = utility, [ZpciProperties.Path] = [1, 2, 3, 4] }.ToFrozenDictionary());
}
