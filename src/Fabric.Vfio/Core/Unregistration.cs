using System.Collections.Immutable;

namespace Fabric.Vfio.Core;

/// <summary>What one request for release came to, for the log (LC-33, LC-34).</summary>
[Flags]
public enum RequestNotice
{
    /// <summary>Nothing to say.</summary>
    None = 0,

    /// <summary>REQ was signalled.</summary>
    Signalled = 1 << 0,

    /// <summary>Worth a notice: the holder was asked, again and again.</summary>
    Notice = 1 << 1,

    /// <summary>Worth a warning: the holder does not listen to REQ.</summary>
    Unheard = 1 << 2,

    /// <summary>Worth a warning: the one who waits was interrupted and waits on, uninterruptibly.</summary>
    Blocked = 1 << 3,
}

/// <summary>
/// A device on its way out (LC-32): it waits for the last reference to its registration and asks its holder for release (LC-33). Whoever has
/// the clock calls <see cref="Elapse"/> every <see cref="Interval"/>.
/// </summary>
public sealed class Unregistration
{
    private readonly VfioPciCore device;
    private bool interrupted;

    internal Unregistration(VfioPciCore device) => this.device = device;

    public static TimeSpan Interval { get; } = TimeSpan.FromSeconds(10);

    public bool IsComplete => device.Registration == RegistrationState.Unregistered;

    /// <summary>VFs that have to go first (SV-11, SV-23); their holders are asked by this one's steps.</summary>
    public ImmutableArray<Unregistration> VirtualFunctions { get; internal set; } = [];

    /// <summary>How many times the device was requested.</summary>
    public int Requests { get; private set; }

    /// <summary>Whether a signal still wakes who waits (LC-33).</summary>
    public bool IsInterruptible => !interrupted;

    /// <summary>What the last step came to.</summary>
    public RequestNotice Notice { get; private set; }

    /// <summary><see cref="Interval"/> has passed: requests the device once more, or goes on once its VFs are gone.</summary>
    public RequestNotice Elapse()
    {
        if (IsComplete)
            return Notice = RequestNotice.None;
        if (VirtualFunctions.IsEmpty)
            return Notice = Request();
        var notice = RequestNotice.None;
        foreach (var function in VirtualFunctions)
            notice |= function.Elapse();
        return Notice = notice;
    }

    /// <summary>A signal reached who waits: from now on nothing wakes it but the release; the device is requested once more (LC-33).</summary>
    public RequestNotice Interrupt()
    {
        if (IsComplete || interrupted)
            return Notice = RequestNotice.None;
        interrupted = true;
        return Notice = RequestNotice.Blocked | Elapse();
    }

    internal RequestNotice Request() => Notice = device.Request(Requests++);
}
