using System.Buffers.Binary;
using Fabric.Hardware.Specs.Mtty;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mtty;

/// <summary>
/// A serial card in software, one port or two, in the manner of the kernel's samples/vfio-mdev mtty: each port loops back what it sends. It has
/// neither clock nor DMA; whatever it does it does within an access, under one lock.
/// </summary>
public sealed class MttyFunction : IPciFunction, IDisposable
{
    private readonly Lock clock = new();
    private readonly MttyPortPool pool;
    private readonly MttyConfig config;
    private readonly MttyInterrupts interrupts;
    private readonly UartPort[] ports;
    private readonly byte[] loadBuffer;
    private MttyStatus status;
    private bool isDisposed;

    private MttyFunction(PciAddress address, int portCount, MttyPortPool pool)
    {
        Address = address;
        this.pool = pool;
        config = new MttyConfig(portCount);
        interrupts = new MttyInterrupts(clock, config, portCount);
        ports = [.. Enumerable.Range(0, portCount).Select(_ => new UartPort())];
        loadBuffer = new byte[portCount * MttyPortState.Bytes];
        var port = new PciBar(BarKind.Io, MttyBar.PortBytes);
        Bars =
        [
            port, portCount == 2 ? port : PciBar.None, new PciBar(BarKind.Memory32, MttyMigration.Bytes), PciBar.None, PciBar.None, PciBar.None,
        ];
    }

    /// <summary>Makes a card. Errors: EINVAL for anything but one or two ports, ENOSPC where the host's ports are in use.</summary>
    /// <param name="pool">The host's ports; given back when the card is disposed of.</param>
    public static VfioResult<MttyFunction> Create(PciAddress address, int ports, MttyPortPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        if (ports is not (1 or 2))
            return new VfioError(Errno.EINVAL, "A serial card has one port or two.");
        var taken = pool.Take(ports);
        return taken.IsOk ? new MttyFunction(address, ports, pool) : taken.Error;
    }

    public PciAddress Address { get; }

    public PciIds Ids => new(MttyIds.Vendor, MttyIds.Device, MttyIds.Vendor, MttyIds.Device, MttyIds.ClassCode);

    public FunctionTraits Traits => FunctionTraits.NoMemoryEnable;

    /// <summary>A group of its own.</summary>
    public int? IommuGroup => EmulatedBus.GroupNumber(Address.Domain, Address.RoutingId);

    public int ConfigSize => ConfigOffset.ConventionalSize;

    public IReadOnlyList<PciBar> Bars { get; }

    public IReadOnlyList<string> ResetMethods { get; } = [ResetMethod.DeviceSpecific];

    public IFunctionInterrupts Interrupts => interrupts;

    public void ReadConfig(int offset, Span<byte> destination)
    {
        lock (clock)
            config.Read(offset, destination);
    }

    public void WriteConfig(int offset, ReadOnlySpan<byte> source)
    {
        lock (clock)
        {
            config.Write(offset, source);
            interrupts.Settle();
        }

        interrupts.Deliver();
    }

    /// <summary>An access wider than a byte is one to each register in turn, the lowest first.</summary>
    public VfioResult ReadRegion(int region, ulong offset, Span<byte> destination)
    {
        if (!Decodes(region))
            return NotDecoded;
        lock (clock)
        {
            if (region == MttyBar.Migration)
                ReadWindow((int)offset, destination);
            else
                ReadPort(region, (int)offset, destination);
        }

        interrupts.Deliver();
        return VfioResult.Ok;
    }

    public VfioResult WriteRegion(int region, ulong offset, ReadOnlySpan<byte> source)
    {
        if (!Decodes(region))
            return NotDecoded;
        lock (clock)
        {
            if (region == MttyBar.Migration)
                WriteWindow((int)offset, source);
            else
                WritePort(region, (int)offset, source);
        }

        interrupts.Deliver();
        return VfioResult.Ok;
    }

    public VfioResult Reset(string method)
    {
        if (!ResetMethods.Contains(method))
            return VfioResult.Fail(Errno.ENOTTY, "The function has no such reset.");
        lock (clock)
        {
            config.Reset();
            Array.Clear(loadBuffer);
            status = MttyStatus.None;
            for (var port = 0; port < ports.Length; port++)
                ports[port] = new UartPort();
            ObserveAll();
        }

        return VfioResult.Ok;
    }

    public void ConnectDma(IDmaSpace? space)
    {
        // It has no DMA to put behind an address space.
    }

    public void Dispose()
    {
        lock (clock)
        {
            if (isDisposed)
                return;
            isDisposed = true;
        }

        pool.Return(ports.Length);
    }

    private static VfioResult NotDecoded => VfioResult.Fail(Errno.EIO, "The function does not decode this BAR.");

    private bool IsSuspended => (status & MttyStatus.Suspended) != 0;

    /// <summary>Port registers answer: to I/O decode that is off, or of a suspended card, nothing does, and reads give all ones.</summary>
    private bool PortsAnswer => config.IsIoOn && !IsSuspended;

    private bool Decodes(int region) => region == MttyBar.Migration || (uint)region < (uint)ports.Length;

    // ---- Ports -----------------------------------------------------------------------------------------------------------------------

    private void ReadPort(int port, int offset, Span<byte> destination)
    {
        destination.Fill(0xff);
        if (!PortsAnswer)
            return;
        for (var i = 0; i < destination.Length; i++)
            destination[i] = ports[port].Read(offset + i);
        Observe(port);
    }

    private void WritePort(int port, int offset, ReadOnlySpan<byte> source)
    {
        if (!PortsAnswer)
            return;
        for (var i = 0; i < source.Length; i++)
        {
            ports[port].Write(offset + i, source[i]);
            Observe(port);
        }
    }

    private void Observe(int port) => interrupts.Observe(port, ports[port].Requests && !IsSuspended);

    private void ObserveAll()
    {
        for (var port = 0; port < ports.Length; port++)
            Observe(port);
    }

    // ---- Migration control -----------------------------------------------------------------------------------------------------------

    private void ReadWindow(int offset, Span<byte> destination)
    {
        Span<byte> window = stackalloc byte[MttyMigration.PortStates + (2 * MttyPortState.Bytes)];
        window.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(window[MttyMigration.Ports..], ports.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(window[MttyMigration.Status..], (uint)status);
        for (var port = 0; port < ports.Length; port++)
            ports[port].Save(window.Slice(MttyMigration.PortStates + (port * MttyPortState.Bytes), MttyPortState.Bytes));
        destination.Clear();
        if (offset < window.Length)
            window.Slice(offset, Math.Min(destination.Length, window.Length - offset)).CopyTo(destination);
    }

    private void WriteWindow(int offset, ReadOnlySpan<byte> source)
    {
        if (offset == MttyMigration.Command && source.Length == sizeof(uint))
            Execute((MttyCommand)BinaryPrimitives.ReadUInt32LittleEndian(source));
        var at = offset - MttyMigration.PortStates;
        if (IsSuspended && at >= 0 && at < loadBuffer.Length)
            source[..Math.Min(source.Length, loadBuffer.Length - at)].CopyTo(loadBuffer.AsSpan(at));
    }

    private void Execute(MttyCommand command)
    {
        switch (command)
        {
            case MttyCommand.Suspend:
                status = MttyStatus.Suspended;
                Array.Clear(loadBuffer);
                break;
            case MttyCommand.Resume:
                status = MttyStatus.None;
                break;
            case MttyCommand.Load:
                status = Load() ? status & ~MttyStatus.LoadRefused : status | MttyStatus.LoadRefused;
                break;
        }

        ObserveAll();
    }

    private bool Load()
    {
        var loaded = new UartPort?[ports.Length];
        for (var port = 0; port < ports.Length; port++)
            loaded[port] = UartPort.Load(loadBuffer.AsSpan(port * MttyPortState.Bytes, MttyPortState.Bytes));
        if (!IsSuspended || loaded.Contains(null))
            return false;
        for (var port = 0; port < ports.Length; port++)
            ports[port] = loaded[port]!;
        return true;
    }
}
