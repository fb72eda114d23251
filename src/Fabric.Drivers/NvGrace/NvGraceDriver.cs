using System.Collections.Immutable;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Hardware.Specs.NvGrace;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.NvGrace;

/// <summary>
/// GPUs with coherent memory beside PCI (contract §7.3): shows that memory as BARs that the function has not. It migrates nothing; its base is
/// for what it has of an open device. Where firmware describes no memory everything falls through to the core (VD-NVG-1).
/// </summary>
public sealed class NvGraceDriver : MigratingDriver
{
    private static readonly TimeSpan Poll = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly IFunctionPlatform platform;
    private readonly ImmutableArray<FakeBar> bars;
    private IRegisters? control;

    /// <param name="bars">Their registers outlive a restart of the driver.</param>
    internal NvGraceDriver(DriverContext context, ImmutableArray<FakeBar> bars)
        : base(context, NvGraceRegister.Bar)
    {
        (platform, this.bars) = (context.Platform, bars);
        Hide<SetIoEventFd>("This GPU's BARs take no ioeventfd; write to them.");
        On<ReadRegion>(static read => read.Region == RegionIndex.Config, read => AskCore(read, reply => Reply(Shown(read, reply))));
        On<WriteRegion>(static write => write.Region == RegionIndex.Config, write => AskCore(write, reply =>
        {
            if (reply is RegionWritten written)
                Take(write.Offset, write.Data.Span[..written.Length]);
            Reply(reply);
        }));
        foreach (var bar in bars)
            Show(bar);
    }

    public static ImmutableArray<DriverRegistration> Registrations { get; } =
    [
        Of(NvGraceIds.HopperSmall, "gh200"), Of(NvGraceIds.Hopper, "gh200"), Of(NvGraceIds.HopperOther, "gh200"),
        Of(NvGraceIds.Blackwell, "gb200"), Of(NvGraceIds.BlackwellUltra, "gb300"),
    ];

    private static DriverRegistration Of(ushort device, string model) =>
        new("nvgrace-gpu", new PciIds(NvGraceIds.Vendor, device), model, PropsOf) { Migrates = false };

    private static Props PropsOf(DriverContext context) => NvGraceMemory.Find(context) is { IsEmpty: false } bars
        ? DriverProps.Of(() => new NvGraceDriver(context, bars))
        : PassthroughDriver.Props(context);

    private void Show(FakeBar bar)
    {
        On<GetRegionInfo>(info => info.Index == bar.Index, info => AskCore(
            info, reply => Reply(reply is RegionInfoRead ? new RegionInfoRead(bar.Info) : reply)));
        On<ReadRegion>(read => read.Region == bar.Index && IsTransfer(read.Length), read => WhenReady(
            read, () => Reply(bar.Read(read.Offset, read.Length), static data => new RegionRead(data))));
        On<WriteRegion>(write => write.Region == bar.Index && IsTransfer(write.Data.Length), write => WhenReady(
            write, () => Reply(bar.Write(write.Offset, write.Data.Span), static length => new RegionWritten(length))));
        On<MapRegion>(map => map.Region == bar.Index, map => WhenReady(map, () => Reply(new RegionMapped(bar.Mapping!))));
        On<GetDmaBuf>(get => get.Region == bar.Index, get => WithDevice(get.Session, () => Forward(get with { Shown = bar.Mapping }), Reply));
    }

    /// <summary>What is no transfer at all, and one that is too long, is the core's to answer.</summary>
    private static bool IsTransfer(int length) => length is > 0 and <= DeviceLimits.MaxTransfer;

    // ---- Opening and resets ----------------------------------------------------------------------------------------------------------

    protected override VfioResult<MigratingDevice> Attach(MappedBars mapped)
    {
        control = mapped[NvGraceRegister.Bar];
        foreach (var bar in bars)
        {
            var memory = platform.MapMemory(bar.Address, bar.Length);
            if (!memory.IsOk)
                return memory.Error;
            bar.Open(mapped[NvGraceRegister.Bar], memory.Value);
            if (HeldBy == default)
                bar.Clear();
        }

        return new MigratingDevice(null);
    }

    /// <summary>The registers of fake BARs are cleared by RESET alone, and whether it works or not (VD-NVG-3).</summary>
    protected override void PrepareReset(Action then)
    {
        foreach (var bar in bars)
            bar.Clear();
        then();
    }

    /// <summary>
    /// Goes on when the memory can be touched, which after a reset may take a while (VD-NVG-4). There is no signal here that could interrupt it.
    /// Errors: ETIME after 30 s, ENODEV for a GPU that is gone, EIO with memory decode off.
    /// </summary>
    private void WhenReady(SessionRequest request, Action then) => WithDevice(
        request.Session, () => Look(request.Session, TimeSpan.Zero, then), Reply);

    private void Look(SessionId session, TimeSpan waited, Action then)
    {
        var ready = ReadyMemory.IsReady(control!);
        if (!ready.IsOk)
            TellWhy(session, ready.Error);
        else if (ready.Value)
            then();
        else if (waited >= Patience)
            Reply(VfioResult.Fail(Errno.ETIME, "The GPU's memory was not ready within 30 s of a reset; reset the GPU again."));
        else
            After(Poll, () => Look(session, waited + Poll, then));
    }

    /// <summary>A GPU that is gone has no class any more: of that the core shows what the function answers.</summary>
    private void TellWhy(SessionId session, VfioError error) => AskCore(
        new ReadRegion(session, RegionIndex.Config, ConfigOffset.ClassCode, 3),
        reply => Reply(reply is RegionRead read
            ? new DeviceFailed(read.Data.Span.IndexOfAnyExcept((byte)0xff) < 0
                ? new VfioError(Errno.ENODEV, "The GPU does not answer any more; take it out of service.")
                : error)
            : reply));

    // ---- Config space (VD-NVG-3) -----------------------------------------------------------------------------------------------------

    private void Take(ulong offset, ReadOnlySpan<byte> written)
    {
        foreach (var bar in bars)
            bar.Take(offset, written);
    }

    private DeviceReply Shown(ReadRegion read, DeviceReply reply)
    {
        if (reply is not RegionRead answered)
            return reply;
        var shown = answered.Data.ToArray();
        foreach (var bar in bars)
            bar.Show(read.Offset, shown);
        return new RegionRead(shown);
    }
}
