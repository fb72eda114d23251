using Fabric.Pci;

namespace Fabric.Hardware.Emulated;

/// <summary>Lays out the buses of a host, depth first: ports on bus 0, from device 1 on, and what hangs below each.</summary>
internal sealed class BusBuilder(EmulatedBusOptions options, TimeProvider time)
{
    /// <summary>Of the 256 of bus 0, those of device 0 are the host bridge's.</summary>
    private const int FirstPort = 8;

    private const int LastBus = 255;

    private readonly List<EmulatedPort> ports = [];
    private readonly List<EmulatedFunction> functions = [];
    private ushort domain = EmulatedBus.Domain;
    private int nextPort = FirstPort;
    private int nextBus = 1;

    public EmulatedBusOptions Options => options;

    public TimeProvider Time => time;

    public IReadOnlyList<EmulatedFunction> Functions => functions;

    public IReadOnlyList<EmulatedPort> Ports => ports;

    /// <summary>One more root port. Where a domain has no bus left for it and for a bridge below it, it is the first of the next domain.</summary>
    public EmulatedPort AddRootPort(PortTraits traits)
    {
        if (nextPort > byte.MaxValue || nextBus >= LastBus)
            (domain, nextPort, nextBus) = ((ushort)(domain + 1), FirstPort, 1);
        var port = new EmulatedPort(PciAddress.FromRoutingId(domain, (ushort)nextPort++), null, traits, (byte)nextBus++);
        ports.Add(port);
        return port;
    }

    public EmulatedPort AddBridge(EmulatedPort above, PortTraits traits)
    {
        var secondary = (byte)nextBus++;
        above.Extend(secondary);
        var bridge = new EmulatedPort(Below(above, 0), above, traits, secondary);
        ports.Add(bridge);
        return bridge;
    }

    public void Add(EmulatedFunction function) => functions.Add(function);

    /// <summary>The address of a device and function on the bus below a port.</summary>
    public static PciAddress Below(EmulatedPort port, int devfn) =>
        PciAddress.FromRoutingId(port.Address.Domain, (ushort)((port.Secondary << 8) | devfn));
}
