using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Faults;

/// <summary>Where calls that are made to hang wait. One function, one gate.</summary>
internal sealed class HangGate
{
    private readonly object gate = new();
    private int closed;
    private int releases;
    private int waiting;
    private bool isOpenForGood;

    /// <summary>Calls that hang now.</summary>
    public int Waiting
    {
        get
        {
            lock (gate)
                return waiting;
        }
    }

    public void Close(HangPoint point)
    {
        lock (gate)
        {
            if (!isOpenForGood)
                closed |= Bit(point);
        }
    }

    /// <summary>Every call that hangs returns; one that comes in now hangs only if the gate is closed again.</summary>
    public void Release()
    {
        lock (gate)
        {
            closed = 0;
            releases++;
            Monitor.PulseAll(gate);
        }
    }

    /// <summary>Nothing hangs here any more, whatever happens.</summary>
    public void ReleaseForGood()
    {
        lock (gate)
            isOpenForGood = true;
        Release();
    }

    /// <summary>Blocks the calling thread while the gate is closed to calls of this kind: that is what it is for.</summary>
    public void Pass(HangPoint point)
    {
        lock (gate)
        {
            if ((closed & Bit(point)) == 0)
                return;
            waiting++;
            for (var before = releases; releases == before;)
                Monitor.Wait(gate);
            waiting--;
        }
    }

    private static int Bit(HangPoint point) => 1 << (int)point;
}
