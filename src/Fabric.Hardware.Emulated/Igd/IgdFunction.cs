using System.Buffers.Binary;
using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Specs.Igd;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Igd;

/// <summary>
/// Intel's integrated graphics as far as a host sees it: a VGA controller, the OpRegion that firmware has put into memory, and the two bridges
/// that a guest's driver looks at.
/// </summary>
internal sealed class IgdFunction(PciAddress address) : BenchFunction(address, Kind)
{
    /// <summary>Where firmware has put the OpRegion.</summary>
    private const uint OpRegionAt = 0x7af0_0000;

    private const int OpRegionKiB = 8;

    private static readonly PciBar[] Apertures =
        [new(BarKind.Memory64, 0x4000), PciBar.None, new(BarKind.Memory64, 0x10000, Prefetchable: true), PciBar.None, new(BarKind.Io, 0x40), PciBar.None];

    private static readonly FunctionModel Kind = KindOf();

    public override IFunctionPlatform Platform => new Host(this);

    internal override EmulatedFunction Renew() => new IgdFunction(Address);

    private static FunctionModel KindOf()
    {
        var ids = new PciIds(IgdPlatform.Vendor, IgdPlatform.Device, IgdPlatform.Vendor, 1, IgdPlatform.VgaClass);
        var header = HeaderLayout.Endpoint(ids, Apertures, rom: default, pin: 1, hasInterruptDisable: true, isMultiFunction: false);
        return new FunctionModel(
            ids,
            ConfigLayout.Of(
                [.. header, new RegisterRow(IgdPlatform.OpRegionRegister, 4, OpRegionAt)],
                StandardCapabilities.Msi(1, is64Bit: false, hasMask: false), StandardCapabilities.AdvancedFeatures()))
        {
            Bars = Apertures,
            ResetMethods = [ResetMethod.AdvancedFeatures],
        };
    }

    /// <summary>The memory and the bridges around it.</summary>
    private sealed class Host(IgdFunction function) : IFunctionPlatform
    {
        private readonly Dictionary<PciAddress, byte[]> bridges = new()
        {
            [function.Address with { Bus = 0, Device = 0, Function = 0 }] = Bridge(0x3ec2, IgdPlatform.HostBridgeClass),
            [function.Address with { Bus = 0, Device = 0x1f, Function = 0 }] = Bridge(0xa308, IgdPlatform.IsaBridgeClass),
        };

        public VfioResult<IPlatformMemory> MapMemory(ulong address, ulong bytes) => address == OpRegionAt && bytes <= OpRegionKiB * 1024
            ? new OpRegion(bytes)
            : new VfioError(Errno.ENODEV, "Firmware describes no memory of this function there.");

        public VfioResult ReadConfig(PciAddress of, int offset, Span<byte> destination)
        {
            if (of == function.Address)
                function.ReadConfig(offset, destination);
            else if (bridges.TryGetValue(of, out var config) && offset + destination.Length <= config.Length)
                config.AsSpan(offset, destination.Length).CopyTo(destination);
            else
                return VfioResult.Fail(Errno.ENODEV, "The host has no such function.");
            return VfioResult.Ok;
        }

        private static byte[] Bridge(ushort device, uint @class)
        {
            var config = new byte[ConfigOffset.ConventionalSize];
            BinaryPrimitives.WriteUInt16LittleEndian(config, IgdPlatform.Vendor);
            BinaryPrimitives.WriteUInt16LittleEndian(config.AsSpan(ConfigOffset.DeviceId), device);
            BinaryPrimitives.WriteUInt32LittleEndian(config.AsSpan(ConfigOffset.ClassCode - 1), @class << 8);
            return config;
        }
    }

    /// <summary>Signature, size, and a pattern: the low byte of each offset.</summary>
    private sealed class OpRegion(ulong bytes) : IPlatformMemory
    {
        public ulong Size => bytes;

        public VfioResult Read(ulong offset, Span<byte> destination)
        {
            if (offset + (ulong)destination.Length > bytes)
                return VfioResult.Fail(Errno.EINVAL, "The OpRegion ends there.");
            Span<byte> header = stackalloc byte[IgdPlatform.OpRegionHeaderBytes];
            IgdPlatform.OpRegionSignature.CopyTo(header);
            BinaryPrimitives.WriteUInt32LittleEndian(header[IgdPlatform.OpRegionSize..], OpRegionKiB);
            for (var i = 0; i < destination.Length; i++)
            {
                var at = offset + (ulong)i;
                destination[i] = at < (ulong)header.Length ? header[(int)at] : (byte)at;
            }

            return VfioResult.Ok;
        }

        public VfioResult Write(ulong offset, ReadOnlySpan<byte> source) => VfioResult.Fail(Errno.EINVAL, "The OpRegion is firmware's.");
    }
}
