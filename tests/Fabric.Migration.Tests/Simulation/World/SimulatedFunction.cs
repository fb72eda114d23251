using Fabric.Migration.Claims;
using Fabric.Migration.Hosts.Runs;
using Fabric.Migration.Hosts;
using Fabric.Migration.Tests.Simulation.Engine;
using Fabric.Pci;

namespace Fabric.Migration.Tests.Simulation.World;

/// <summary>What a device computes with: which workload, and how far it is. Its hash stands for all of its bytes.</summary>
/// <param name="Lineage">A number that each workload gets when it begins anew.</param>
internal readonly record struct SimulatedState(long Lineage, long Steps)
{
    public string Hash => $"{unchecked(((ulong)Lineage * 0x9e37_79b9_7f4a_7c15) ^ ((ulong)Steps * 0xc2b2_ae3d_27d4_eb4f)):x16}";
}

/// <summary>A function and the consumer on it: makes a step each millisecond while it runs, and tells when it does.</summary>
internal sealed class SimulatedFunction(Simulation run, string host, NodeTime time, PciAddress address)
{
    /// <summary>How soon a consumer that its lease holds up looks again.</summary>
    private static readonly TimeSpan Glance = TimeSpan.FromMilliseconds(100);

    /// <summary>Its host closes it by itself when no more than this is left; all leases here are of one length.</summary>
    private static readonly TimeSpan LeaseLow = new LeaseTerms(LeaseTerms.Least).StopBefore;

    private SimulatedState state;
    private Lease lease = Lease.None;
    private int watches;
    private long runsSince;
    private bool goes;
    private bool isStopped;

    /// <summary>What its next step is the first of.</summary>
    private RunEvent begins = RunEvent.Started;

    public PciAddress Address { get; } = address;

    /// <summary>The claim that has it open; null while it is closed.</summary>
    public string? Holder { get; private set; }

    public long Generation { get; set; }

    /// <summary>Out of service; whether its state can still be read.</summary>
    public (string Reason, bool Readable)? Sick { get; set; }

    /// <summary>It is to make steps. It makes none while its process stands still.</summary>
    public bool Runs { get; private set; }

    /// <summary>So little is left of the lease that its host closes it by itself.</summary>
    public bool Lapses => lease != Lease.None && lease.Left <= LeaseLow;

    public SimulatedState State => state with { Steps = Steps };

    private long Steps => state.Steps + (goes ? Milliseconds - runsSince : 0);

    private long Milliseconds => run.Now.Ticks / TimeSpan.TicksPerMillisecond;

    public void Open(string claim, Lease under) => (Holder, state, lease) = (claim, default, under);

    public void BeginAnew()
    {
        state = new SimulatedState(run.NextLineage(), 0);
        Go(RunEvent.Afresh);
    }

    public void Resume()
    {
        if (!Runs)
            Go(RunEvent.Started);
    }

    public void Stop()
    {
        Suspend();
        Runs = false;
    }

    public SimulatedState Save()
    {
        Record(RunEvent.Saved);
        return state;
    }

    public void Load(SimulatedState loaded)
    {
        state = loaded;
        Record(RunEvent.Loaded);
    }

    /// <summary>Closed, and so reset.</summary>
    /// <param name="lapsed">Its lease was not renewed in time.</param>
    public void Close(bool lapsed)
    {
        Stop();
        Lose(lapsed ? "lapsed" : "closed");
        Holder = null;
    }

    /// <summary>It died: nothing of it is left, and nobody heard how far it came.</summary>
    public void Die()
    {
        if (Holder is not null)
            Lose("died");
        (Holder, isStopped) = (null, false);
    }

    /// <summary>What it had is gone; it may still be held.</summary>
    public void Lose(string why)
    {
        Record(RunEvent.Lost, why);
        (Runs, goes, state) = (false, false, default);
    }

    /// <summary>Its process stands still: it makes no steps, and does not know.</summary>
    public void StandStill()
    {
        isStopped = true;
        Suspend();
    }

    private void Suspend()
    {
        if (!goes)
            return;
        state = State;
        goes = false;
        Record(RunEvent.Stopped);
    }

    /// <summary>Its process goes on.</summary>
    public void GoOn()
    {
        isStopped = false;
        Wake();
    }

    private void Wake()
    {
        if (Runs && !goes && lease.Holds)
            Go(begins);
    }

    /// <summary>Told to run without its lease, as a process that was stopped half way may be, it makes no step before it has one.</summary>
    private void Go(RunEvent what)
    {
        (Runs, begins) = (true, what);
        if (lease.Holds)
        {
            (goes, runsSince, begins) = (true, Milliseconds, RunEvent.Started);
            Record(what);
        }

        Watch(++watches);
    }

    /// <summary>Makes no step past the end of the lease: looks at each step, which is when it ends; and whether it may go on.</summary>
    private void Watch(int watch)
    {
        if (lease == Lease.None)
            return;
        run.After(lease.Holds ? time.OfAll(lease.Left) + TimeSpan.FromTicks(10) : Glance, () =>
        {
            if (watch != watches || !Runs)
                return;
            if (!lease.Holds && goes)
                Suspend();
            else if (lease.Holds && !goes && !isStopped)
            {
                Wake();
                return;
            }

            Watch(watch);
        });
    }

    private void Record(RunEvent what, string? why = null) => run.Record(
        new RunRecord(
            run.Now.Ticks / TimeSpan.TicksPerMicrosecond, what, Holder ?? "", host, Address.ToString(), Generation, state.Steps,
            what is RunEvent.Saved or RunEvent.Loaded ? state.Hash : null)
        { Reason = why });
}
