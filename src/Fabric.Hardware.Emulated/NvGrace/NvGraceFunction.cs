using System.Buffers.Binary;
using System.Collections.Immutable;
using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Specs.NvGrace;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.NvGrace;

/// <summary>
/// A coherent GPU as far as a host sees it: two status registers in BAR 0, and memory beside PCI that firmware describes. A reset loses what the
/// memory holds and takes the GPU a while; who touches the memory meanwhile is counted, and reads all ones.
/// </summary>
public sealed class NvGraceFunction : EmulatedFunction
{
    /// <summary>Where firmware has put the memory.</summary>
    public const ulong MemoryBase = 0x4200_0000_0000;

    private const ulong RegisterBytes = 0x40000;

    private static readonly PciBar[] FunctionBars =
        [new(BarKind.Memory64, RegisterBytes), PciBar.None, PciBar.None, PciBar.None, PciBar.None, PciBar.None];

    private readonly TimeProvider time;
    private readonly SparseMemory memory;
    private long? resetAt;
    private int earlyAccesses;

    private NvGraceFunction(PciAddress address, FunctionModel model, ulong memoryBytes, TimeProvider time)
        : base(address, model)
    {
        (this.time, memory) = (time, new SparseMemory(memoryBytes));
        Platform = new Firmware(this);
    }

    /// <summary>A Grace Hopper: a part of its memory must not be cached.</summary>
    /// <param name="memoryBytes">0 for one of which firmware describes no memory.</param>
    public static NvGraceFunction Hopper(PciAddress address, ulong memoryBytes, TimeProvider time) =>
        new(address, ModelOf(NvGraceIds.Hopper, migWithCachedMemory: false), memoryBytes, time);

    /// <summary>A Grace Blackwell.</summary>
    /// <param name="memoryBytes">0 for one of which firmware describes no memory.</param>
    public static NvGraceFunction Blackwell(PciAddress address, ulong memoryBytes, TimeProvider time) =>
        new(address, ModelOf(NvGraceIds.Blackwell, migWithCachedMemory: true), memoryBytes, time);

    public override IFunctionPlatform Platform { get; }

    /// <summary>How long after a reset its memory is ready; null for never.</summary>
    public TimeSpan? TrainingTime { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>How often its memory was touched before it was ready.</summary>
    public int EarlyAccesses => Volatile.Read(ref earlyAccesses);

    private bool IsReady => resetAt is not { } since || (TrainingTime is { } training && time.GetElapsedTime(since) >= training);

    public override void ConnectDma(IDmaSpace? space)
    {
        // It has no engine here, so no DMA of its own to put behind an address space.
    }

    internal override EmulatedFunction Renew() => new NvGraceFunction(Address, Model, memory.Size, time) { TrainingTime = TrainingTime };

    private protected override void OnReset()
    {
        resetAt = time.GetTimestamp();
        memory.Clear();
    }

    private protected override VfioResult ReadBar(int region, ulong offset, Span<byte> destination)
    {
        destination.Clear();
        lock (Clock)
        {
            if (offset is NvGraceRegister.Link or NvGraceRegister.MemoryTraining && destination.Length == sizeof(uint) && IsReady)
                BinaryPrimitives.WriteUInt32LittleEndian(destination, NvGraceRegister.Ready);
        }

        return VfioResult.Ok;
    }

    /// <summary>Its status is its own.</summary>
    private protected override VfioResult WriteBar(int region, ulong offset, ReadOnlySpan<byte> source) => VfioResult.Ok;

    private bool IsTouched()
    {
        lock (Clock)
        {
            if (IsPresent && IsReady)
                return true;
        }

        Interlocked.Increment(ref earlyAccesses);
        return false;
    }

    private static FunctionModel ModelOf(ushort device, bool migWithCachedMemory)
    {
        var ids = new PciIds(NvGraceIds.Vendor, device, NvGraceIds.Vendor, 1, NvGraceIds.ClassCode);
        var header = HeaderLayout.Endpoint(ids, FunctionBars, rom: default, pin: 0, hasInterruptDisable: true, isMultiFunction: false);
        ImmutableArray<CapabilityLayout> capabilities =
        [
            StandardCapabilities.PciExpress(PciExpressType.Endpoint, functionLevelReset: true),
            ExtendedCapabilities.Aer(),
            CapabilityLayout.Extended(
                ExtendedCapability.DesignatedVendorSpecific,
                NvGraceDvsec.Length,
                new RegisterRow(NvGraceDvsec.VendorAt, 2, NvGraceIds.Vendor),
                new RegisterRow(NvGraceDvsec.VendorAt + 2, 2, NvGraceDvsec.Length << 4),
                new RegisterRow(NvGraceDvsec.IdAt, 2, NvGraceDvsec.Id),
                new RegisterRow(NvGraceDvsec.Bits, 2, migWithCachedMemory ? NvGraceDvsec.MigWithCachedMemory : 0u)),
        ];
        return new FunctionModel(ids, ConfigLayout.Of(header, capabilities))
        {
            Bars = FunctionBars,
            ResetMethods = [ResetMethod.FunctionLevel, ResetMethod.Bus],
        };
    }

    /// <summary>What the host's firmware tells of it.</summary>
    private sealed class Firmware(NvGraceFunction function) : IFunctionPlatform
    {
        public bool TryGetProperty(string name, out ulong value)
        {
            value = name switch
            {
                NvGraceProperties.MemoryBase => MemoryBase,
                NvGraceProperties.MemorySize => function.memory.Size,
                _ => 0,
            };
            return function.memory.Size > 0 && value > 0;
        }

        public VfioResult<IPlatformMemory> MapMemory(ulong address, ulong bytes)
        {
            var size = function.memory.Size;
            return address < MemoryBase || bytes == 0 || bytes > size || address - MemoryBase > size - bytes
                ? new VfioError(Errno.ENODEV, "Firmware describes no memory of this function there.")
                : new Part(function, address - MemoryBase, bytes);
        }

        public VfioResult ReadConfig(PciAddress of, int offset, Span<byte> destination)
        {
            if (of != function.Address)
                return VfioResult.Fail(Errno.ENODEV, "The host has no such function.");
            if (offset < 0 || offset > function.ConfigSize - destination.Length)
                return VfioResult.Fail(Errno.EINVAL, "Config space ends before that.");
            function.ReadConfig(offset, destination);
            return VfioResult.Ok;
        }
    }

    private sealed class Part(NvGraceFunction function, ulong start, ulong bytes) : IPlatformMemory
    {
        public ulong Size => bytes;

        public VfioResult Read(ulong offset, Span<byte> destination)
        {
            if (offset > bytes || (ulong)destination.Length > bytes - offset)
                return Outside;
            if (function.IsTouched())
                function.memory.Read(start + offset, destination);
            else
                destination.Fill(0xff);
            return VfioResult.Ok;
        }

        public VfioResult Write(ulong offset, ReadOnlySpan<byte> source)
        {
            if (offset > bytes || (ulong)source.Length > bytes - offset)
                return Outside;
            if (function.IsTouched())
                function.memory.Write(start + offset, source);
            return VfioResult.Ok;
        }

        private static VfioResult Outside => VfioResult.Fail(Errno.EINVAL, "The memory ends before that.");
    }
}
