using System.Collections.Immutable;
using Fabric.Hardware.Emulated.Accelerator;
using Fabric.Hardware.Emulated.HisiAcc;
using Fabric.Hardware.Emulated.Igd;
using Fabric.Hardware.Emulated.Mlx5;
using Fabric.Hardware.Emulated.Models;
using Fabric.Hardware.Emulated.NvGrace;
using Fabric.Hardware.Emulated.Pds;
using Fabric.Hardware.Emulated.Qat;
using Fabric.Hardware.Emulated.S390;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Hardware.Emulated.Virtio;
using Fabric.Hardware.Emulated.Xe;
using Fabric.Hardware.Specs.HisiAcc;
using Fabric.Hardware.Specs.Qat;
using Fabric.Pci;

namespace Fabric.Hardware.Emulated;

/// <param name="Description">One line.</param>
/// <param name="TotalVirtualFunctions">VFs that a card of it can have from the start.</param>
public sealed record EmulatedModel(string Name, string Description, int TotalVirtualFunctions = 0);

/// <summary>The cards that an emulated host can have.</summary>
public static class EmulatedModels
{
    public const string Accelerator = "accelerator";
    public const string MultiFunction = "multi-function";
    public const string Conventional = "conventional";
    public const string NoFlr = "no-flr";
    public const string HungReset = "hung-reset";
    public const string NotReady = "not-ready";
    public const string Igd = "igd";
    public const string Zpci = "zpci";
    public const string Ism = "ism";
    public const string Mlx5 = "mlx5";
    public const string Xe = "xe";
    public const string Null = "null";
    public const string GraceHopper = "gh200";
    public const string GraceBlackwell = "gb200";
    public const string VirtioNet = "virtio-net";
    public const string VirtioBlock = "virtio-blk";
    public const string HisiSec = "hisi-sec";
    public const string HisiSecByPf = "hisi-sec-by-pf";
    public const string HisiHpre = "hisi-hpre";
    public const string HisiZip = "hisi-zip";
    public const string Pds = "pds";
    public const string Qat = "qat";
    public const string QatGen6 = "qat-6xxx";

    /// <summary>VFs of a card where the options do not say how many.</summary>
    private const int DefaultVfs = 7;

    private const int FunctionsPerBus = 256;

    private const uint OldQueueManager = 0x30;

    /// <summary>VFs that a commanded card can have.</summary>
    private const int CommandedVfs = 3;

    private const int Mlx5Vfs = 8;

    /// <summary>Of each VF.</summary>
    private const int Mlx5MemoryBytes = 256 << 10;

    private const int XeVfs = 4;

    /// <summary>Of each VF.</summary>
    private const int XeVramBytes = 256 << 10;

    private static readonly ImmutableArray<(EmulatedModel Model, Action<BusBuilder, EmulatedCard> Add)> Kinds =
    [
        (new(Accelerator, "PF with SR-IOV, MSI-X and AER; the host makes its VFs, which have the accelerator's engine"), Each(AddAccelerator)),
        (new(MultiFunction, "four functions without ACS: one IOMMU group, one slot, reset together; MSI-X, INTx, VPD"), Each(AddMultiFunction)),
        (new(Conventional, "PCI device behind a PCIe-to-PCI bridge, in one group with it: I/O BAR, INTx alone, no AER"), Each(AddConventional)),
        (new(NoFlr, "endpoint without FLR: reset by D3hot or by its bus alone; MSI, INTx, ROM; on no slot"), Each(AddNoFlr)),
        (new(HungReset, "its function reset does not return until it is released"), Each(static builder => AddAlone(builder, BenchModels.HungReset))),
        (new(NotReady, "answers nothing for 65 s after a function reset, longer than a host waits"),
            Each(static builder => AddAlone(builder, BenchModels.NotReady))),
        (new(GraceHopper, "NVIDIA GPU with 3840 MiB beside PCI that the CPU reaches coherently, a part of which must not be cached"),
            Each(static builder => builder.Add(NvGraceFunction.Hopper(NextSlot(builder), 3840ul << 20, builder.Time)))),
        (new(GraceBlackwell, "the same with 3 GiB, all of it cached"),
            Each(static builder => builder.Add(NvGraceFunction.Blackwell(NextSlot(builder), 3ul << 30, builder.Time)))),
        (new(
                VirtioNet, "virtio network card with SR-IOV: its PF takes administration commands, legacy access and device parts among them",
                VirtioPhysicalFunction.Vfs),
            EachWithVfs(static (address, time) => VirtioPhysicalFunction.Net(address, time))),
        (new(VirtioBlock, "the same as a disk of zeros", VirtioPhysicalFunction.Vfs),
            EachWithVfs(static (address, time) => VirtioPhysicalFunction.Block(address, time))),
        (new(Igd, "Intel's integrated graphics: OpRegion, host bridge and LPC bridge for its driver to show"),
            Each(static builder => builder.Add(new IgdFunction(NextSlot(builder))))),
        (new(Zpci, "function of an s390 host, with what its firmware tells of it"), Each(static builder => AddAlone(builder, S390Models.Zpci))),
        (new(Ism, "s390's internal shared memory: reached in store blocks, mapped by nobody"), Each(static builder => AddAlone(builder, S390Models.Ism))),
        (new(Mlx5, "ConnectX card: VFs with memory and a work queue, whose migration is firmware's, by the PF", Mlx5Vfs),
            EachWithVfs(static (address, time) => new Mlx5PhysicalFunction(address, time, Mlx5Vfs, Mlx5MemoryBytes))),
        (new(Xe, "Battlemage graphics card: VFs with VRAM and an engine, whose migration is their PF's driver's", XeVfs),
            EachWithVfs(static (address, time) => new XePhysicalFunction(address, time, XeVfs, XeVramBytes))),
        (new(Null, "a header and nothing else; by the hundred thousand"), AddNull),
        (new(HisiSec, "HiSilicon SEC, 3 VFs whose queue manager migrates by the upper half of their BAR", CommandedVfs),
            HisiAcc(HisiAccKind.Sec, OldQueueManager)),
        (new(HisiSecByPf, "HiSilicon SEC, newer: its PF has migration control", CommandedVfs),
            HisiAcc(HisiAccKind.Sec, HisiAccPf.VersionWithControl)),
        (new(HisiHpre, "HiSilicon HPRE, as hisi-sec", CommandedVfs), HisiAcc(HisiAccKind.Hpre, OldQueueManager)),
        (new(HisiZip, "HiSilicon ZIP, as hisi-sec", CommandedVfs), HisiAcc(HisiAccKind.Zip, OldQueueManager)),
        (new(Pds, "Pensando DPU, 3 VFs that its firmware migrates and whose DMA it logs", CommandedVfs),
            EachWithVfs(static (address, time) => new PdsPhysicalFunction(address, CommandedVfs, time))),
        (new(Qat, "Intel QuickAssist, fourth generation, 3 VFs that its PF's driver migrates", CommandedVfs),
            QuickAssist(QatIds.Gen4PhysicalFunction)),
        (new(QatGen6, "Intel QuickAssist, sixth generation, as qat", CommandedVfs), QuickAssist(QatIds.Gen6PhysicalFunction)),
    ];

    public static ImmutableArray<EmulatedModel> All { get; } = [.. Kinds.Select(static kind => kind.Model)];

    /// <exception cref="ArgumentException">There is no such model.</exception>
    internal static void Add(BusBuilder builder, EmulatedCard card)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(card.Count);
        var kind = Kinds.FirstOrDefault(kind => kind.Model.Name == card.Model);
        if (kind.Model is null)
        {
            var known = string.Join(", ", All.Select(static known => known.Name));
            throw new ArgumentException($"There is no emulated model '{card.Model}'; there are {known}.", nameof(card));
        }

        var before = builder.Functions.Count;
        kind.Add(builder, card);
        for (var added = before; card.Fault is { } fault && added < builder.Functions.Count; added++)
            builder.Functions[added].SetResetFault(fault);
    }

    internal static void AddAccelerator(BusBuilder builder, int vfs, bool isStatic)
    {
        var slot = builder.AddRootPort(PortTraits.Slot());
        var physical = new AcceleratorPhysicalFunction(BusBuilder.Below(slot, 0), vfs, isStatic, builder.Options.StateBytes, builder.Time);
        builder.Add(physical);
        for (var number = 1; isStatic && number <= vfs; number++)
            builder.Add(new AcceleratorVirtualFunction(BusBuilder.Below(slot, number), builder.Options.StateBytes, builder.Time));
    }

    private static void AddAccelerator(BusBuilder builder) => AddAccelerator(
        builder, builder.Options.FunctionsPerAccelerator == 0 ? DefaultVfs : builder.Options.FunctionsPerAccelerator, isStatic: false);

    private static void AddMultiFunction(BusBuilder builder)
    {
        var slot = builder.AddRootPort(PortTraits.Slot(Grouping.Together));
        for (var function = 0; function < BenchModels.MultiFunctions; function++)
            builder.Add(new BenchFunction(BusBuilder.Below(slot, function), BenchModels.MultiFunction));
    }

    private static void AddConventional(BusBuilder builder)
    {
        var bridge = builder.AddBridge(builder.AddRootPort(PortTraits.Slot()), PortTraits.ConventionalBridge);
        builder.Add(new BenchFunction(BusBuilder.Below(bridge, 0), BenchModels.Conventional));
    }

    private static void AddNoFlr(BusBuilder builder) =>
        builder.Add(new BenchFunction(BusBuilder.Below(builder.AddRootPort(PortTraits.Soldered()), 0), BenchModels.NoFunctionLevelReset));

    private static void AddAlone(BusBuilder builder, FunctionModel model) =>
        builder.Add(new BenchFunction(NextSlot(builder), model));

    private static PciAddress NextSlot(BusBuilder builder) => BusBuilder.Below(builder.AddRootPort(PortTraits.Slot()), 0);

    /// <summary>As many to a bus as there are addresses; each in a group and a device set of its own all the same.</summary>
    private static void AddNull(BusBuilder builder, EmulatedCard card)
    {
        var count = card.Count;
        for (var added = 0; added < count; added += FunctionsPerBus)
        {
            var port = builder.AddRootPort(PortTraits.Unresettable);
            for (var devfn = 0; devfn < Math.Min(FunctionsPerBus, count - added); devfn++)
                builder.Add(new NullFunction(BusBuilder.Below(port, devfn)));
        }
    }

    private static Action<BusBuilder, EmulatedCard> HisiAcc(HisiAccKind kind, uint version) =>
        EachWithVfs((address, time) => new HisiAccPhysicalFunction(address, kind, version, CommandedVfs, time));

    private static Action<BusBuilder, EmulatedCard> QuickAssist(ushort device) =>
        EachWithVfs((address, time) => new QatPhysicalFunction(address, device, CommandedVfs, time));

    private static Action<BusBuilder, EmulatedCard> Each(Action<BusBuilder> add) => (builder, card) =>
    {
        for (var added = 0; added < card.Count; added++)
            add(builder);
    };

    /// <summary>Cards whose PF is alone in its slot. VFs that there are from the start its own driver has made, so that the host leaves the PF to it.</summary>
    internal static Action<BusBuilder, EmulatedCard> EachWithVfs(Func<PciAddress, TimeProvider, SriovPhysicalFunction> create) => (builder, card) =>
    {
        for (var added = 0; added < card.Count; added++)
        {
            var physical = create(NextSlot(builder), builder.Time);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(card.VirtualFunctions, physical.TotalVirtualFunctions);
            builder.Add(physical);
            IVirtualFunctionParent parent = physical;
            if (card.VirtualFunctions > 0)
                parent.EnableVirtualFunctions(card.VirtualFunctions);
            for (var number = 1; number <= card.VirtualFunctions; number++)
                builder.Add(parent.CreateVirtualFunction(number));
        }
    };
}
