namespace Fabric.Hardware.Emulated.Faults;

/// <summary>What is wrong with one function. Made when the first thing goes wrong: a healthy function has none.</summary>
internal sealed class FunctionFaults
{
    private readonly Lock gate = new();
    private ResetFault? fault;
    private int left;
    private ResetRungs? deadUntilOver;
    private TimeProvider? clock;
    private long awaySince;
    private ResetFault.NotReady? away;
    private volatile bool isGone;

    /// <summary>Whether it answers nothing by reason of a reset: dead, or not ready. Read without the lock on every access.</summary>
    private volatile bool isAway;

    public HangGate Hang { get; } = new();

    /// <summary>Pulled out: for ever, what is put back is another one.</summary>
    public bool IsGone => isGone;

    public void SetGone() => isGone = true;

    public void SetReset(ResetFault? next)
    {
        lock (gate)
            (fault, left) = (next, next?.Times ?? 0);
    }

    /// <summary>Whether it answers, as far as this goes.</summary>
    /// <param name="answer">What config reads come to where it does not.</param>
    public bool Answers(out NotReadyAnswer answer)
    {
        answer = NotReadyAnswer.AllOnes;
        if (isGone)
            return false;
        if (!isAway)
            return true;
        lock (gate)
        {
            if (away is { } notReady)
            {
                answer = notReady.Answer;
                if (notReady.For == Timeout.InfiniteTimeSpan || clock!.GetElapsedTime(awaySince) < notReady.For)
                    return false;
                away = null;
            }

            return !(isAway = deadUntilOver is not null);
        }
    }

    /// <summary>The fault that meets this reset, used up by one; null where the reset works.</summary>
    public ResetFault? Meet(ResetRungs rung)
    {
        lock (gate)
        {
            if (fault is null || left == 0 || (fault.Rungs & rung) == 0)
                return null;
            left--;
            return fault;
        }
    }

    /// <summary>A reset took place: a function that a gentler one left dead or away is back.</summary>
    public void Recover(ResetRungs rung)
    {
        lock (gate)
        {
            if (deadUntilOver < rung || rung == ResetRungs.Power)
                deadUntilOver = null;
            if (rung != ResetRungs.Function)
                away = null;
            isAway = deadUntilOver is not null || away is not null;
        }
    }

    /// <summary>What a reset that took place left behind.</summary>
    public void Suffer(ResetFault suffered, ResetRungs rung, TimeProvider time)
    {
        lock (gate)
        {
            if (suffered is ResetFault.Dies)
                deadUntilOver = rung;
            if (suffered is ResetFault.NotReady notReady)
                (away, clock, awaySince) = (notReady, time, time.GetTimestamp());
            isAway = deadUntilOver is not null || away is not null;
        }
    }
}
