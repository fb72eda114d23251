using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mtty;

/// <summary>The ports that all serial cards of one host share, as in the kernel's sample. Safe from any thread.</summary>
public sealed class MttyPortPool
{
    /// <summary>Ports of a host.</summary>
    public const int Ports = 24;

    private readonly Lock gate = new();
    private int free = Ports;

    public int Free
    {
        get
        {
            lock (gate)
                return free;
        }
    }

    /// <summary>Errors: ENOSPC where fewer are left; none is taken then.</summary>
    internal VfioResult Take(int count)
    {
        lock (gate)
        {
            if (count > free)
                return VfioResult.Fail(Errno.ENOSPC, "All 24 serial ports of this host are in use; remove a card first.");
            free -= count;
            return VfioResult.Ok;
        }
    }

    internal void Return(int count)
    {
        lock (gate)
            free += count;
    }
}
