using Fabric.Devices.Hardware;
using Fabric.Pci;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Client;

/// <summary>
/// A PCI function that another process serves by vfio-user. What it shows is the uAPI's view of a device, which is behind this port like any
/// hardware: a server that is gone reads all ones and fails every call, as a function that was pulled out does.
/// </summary>
internal sealed class VfioUserFunction : IPciFunction, IDisposable
{
    /// <summary>The byte of COMMAND that has DisINTx, and the bit in it.</summary>
    private const int DisIntxAt = ConfigOffset.Command + 1;
    private const byte DisIntx = (byte)((int)PciCommand.InterruptDisable >> 8);

    private readonly ServerConnection server;
    private readonly DeviceDescription device;
    private readonly RemoteDma dma;
    private readonly RemoteInterrupts interrupts;

    public VfioUserFunction(PciAddress address, ServerConnection server, DeviceDescription device, LaneThreads threads)
    {
        (Address, this.server, this.device) = (address, server, device);
        dma = new RemoteDma(server, threads);
        interrupts = new RemoteInterrupts(server, device.Irqs, threads);
        ResetMethods = device.HasReset ? [ResetMethod.DeviceSpecific] : [];
        Platform = new RemotePlatform(new RemoteMigration(server, dma));
        server.ServeWith(dma);
    }

    public PciAddress Address { get; }

    public PciIds Ids => device.Ids;

    /// <summary>Whatever it is where it is served: its config space is shown as that of an ordinary function (CF-13).</summary>
    public FunctionTraits Traits => FunctionTraits.None;

    public string WantedDriver => VfioUserDriver.Name;

    /// <summary>A group of its own: its DMA reaches what its server was given, and nothing else.</summary>
    public int? IommuGroup => ((Address.Domain & 0xff) << 16) | Address.RoutingId;

    public int ConfigSize => device.ConfigSize;

    public IReadOnlyList<PciBar> Bars => device.Bars;

    public PciRom Rom => new(device.RomBytes, device.RomBytes, 0);

    public IReadOnlyList<string> ResetMethods { get; }

    public IFunctionInterrupts Interrupts => interrupts;

    public IFunctionPlatform Platform { get; }

    public void ReadConfig(int offset, Span<byte> destination)
    {
        if (!RemoteRegions.Read(server, RegionIndex.Config, (ulong)offset, destination).IsOk)
            destination.Fill(0xff);
        else if (offset <= DisIntxAt && DisIntxAt < offset + destination.Length)
            destination[DisIntxAt - offset] &= unchecked((byte)~DisIntx);
    }

    /// <summary>
    /// What the server refuses is not written, as hardware does with what it does not take. DisINTx is never written: the line is masked by
    /// <see cref="RemoteInterrupts"/>, which a server masks anyway when it signals; so the bit reads 0 as well (CF-61).
    /// </summary>
    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        if (offset > DisIntxAt || DisIntxAt >= offset + source.Length)
        {
            RemoteRegions.Write(server, RegionIndex.Config, (ulong)offset, source);
            return;
        }

        Span<byte> written = stackalloc byte[source.Length];
        source.CopyTo(written);
        written[DisIntxAt - offset] &= unchecked((byte)~DisIntx);
        RemoteRegions.Write(server, RegionIndex.Config, (ulong)offset, written);
    }

    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination) => RemoteRegions.Read(server, region, offset, destination);

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source) => RemoteRegions.Write(server, region, offset, source);

    public VfioResult Reset(string method) => ResetMethods.Contains(method)
        ? server.Call(Command.DeviceReset, [], [], [], [], [], server.Options.SlowDeadline).Error
        : VfioResult.Fail(Errno.ENOTTY, "The vfio-user device has no such reset.");

    public void ConnectDma(IDmaSpace? space) => dma.Connect(space);

    /// <summary>Ends the connection: the function is gone.</summary>
    public void Dispose()
    {
        server.Dispose();
        interrupts.Dispose();
    }
}

/// <summary>What the driver of a served function finds beside it: the way to its migration.</summary>
internal sealed class RemotePlatform(RemoteMigration migration) : IFunctionPlatform
{
    public RemoteMigration Migration => migration;
}
