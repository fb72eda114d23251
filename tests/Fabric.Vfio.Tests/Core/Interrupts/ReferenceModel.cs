namespace Fabric.Vfio.Tests.Core.Interrupts;

/// <summary>
/// Contract §2.5, §3.7 and CF-14 once more, written down as plainly as can be: a function of its own beside the real one, for random walks
/// to compare with. Eventfds are numbers here; <see cref="Signals"/> counts each.
/// </summary>
internal sealed class ReferenceModel(bool canGrow, int available)
{
    public const int BadFd = 100;
    public const int NoEventfd = 101;

    private const string Intx = "Intx";
    private readonly SortedSet<int> allocated = [];
    private readonly SortedDictionary<int, int> attached = [];
    private string active = "";
    private int intxTarget = -1;
    private int resample = -1;
    private int err = -1;
    private int req = -1;
    private bool masked;
    private bool asserted;
    private bool disabled;
    private bool suspendMasked;

    public int[] Signals { get; } = new int[8];

    public string State =>
        $"{active} intx {intxTarget >= 0} {masked} {disabled} {resample >= 0} "
        + $"vectors {string.Join(',', allocated)}/{string.Join(',', attached.Keys)} {err >= 0} {req >= 0}";

    /// <summary>What ioctl(2) returns. Validation (IO-40) has passed.</summary>
    public int Set(string index, string action, string data, int start, int[] values) => (index, action) switch
    {
        (Intx, "mask" or "unmask") when active != Intx || values.Length != 1 => -22,
        (Intx, "mask") => data == "eventfd" ? -25 : If(data, values[0], () => masked = true),
        (Intx, "unmask") => data == "eventfd" ? SetResample(values[0]) : If(data, values[0], Unmask),
        (Intx, "trigger") => TriggerIntx(data, values),
        ("Msi" or "Msix", "trigger") => TriggerVectors(index, data, start, values),
        ("Err", "trigger") => TriggerOne(ref err, data, values),
        ("Req", "trigger") => TriggerOne(ref req, data, values),
        _ => -25,
    };

    public void SetLine(bool asserts)
    {
        asserted = asserts;
        Arrive();
    }

    public void SetDisabled(bool disable)
    {
        if (disable == disabled)
            return;
        disabled = disable;
        if (active == Intx && disable)
            masked = true;
        if (active == Intx && !disable)
            Unmask();
    }

    public void SignalEventfd(int eventfd)
    {
        if (eventfd == resample)
            Unmask();
    }

    public void Suspend()
    {
        suspendMasked = active == Intx && !masked;
        masked |= suspendMasked;
    }

    public void Resume()
    {
        if (suspendMasked && active == Intx)
            Unmask();
        suspendMasked = false;
    }

    public void Fire(int vector)
    {
        if (attached.TryGetValue(vector, out var eventfd))
            Signals[eventfd]++;
    }

    public void Error() => Signal(err);

    public void Request() => Signal(req);

    public void TearDown()
    {
        Disable();
        disabled = false;
    }

    private static int If(string data, int value, Action act)
    {
        if (data == "none" || value != 0)
            act();
        return 0;
    }

    private static int Check(int fd) => fd switch
    {
        BadFd => -9,
        NoEventfd => -22,
        _ => 0,
    };

    private void Signal(int eventfd)
    {
        if (eventfd >= 0)
            Signals[eventfd]++;
    }

    private void SignalIntx()
    {
        if (!disabled)
            Signal(intxTarget);
    }

    private void Arrive()
    {
        if (active != Intx || !asserted || masked)
            return;
        masked = true;
        SignalIntx();
    }

    private void Unmask()
    {
        if (active != Intx || !masked || disabled)
            return;
        masked = false;
        Arrive();
    }

    private int SetResample(int fd)
    {
        if (fd < 0)
            resample = -1;
        else if (Check(fd) != 0)
            return Check(fd);
        else if (resample >= 0)
            return -16;
        else
            resample = fd;
        return 0;
    }

    private int TriggerIntx(string data, int[] values)
    {
        if (active == Intx && values.Length == 0 && data == "none")
        {
            Disable();
            return 0;
        }
        if (active is not ("" or Intx) || values.Length != 1)
            return -22;
        if (data != "eventfd")
            return active == Intx ? If(data, values[0], SignalIntx) : -22;
        if (Check(values[0]) != 0)
            return Check(values[0]);
        intxTarget = Math.Max(values[0], -1);
        if (active != Intx)
        {
            active = Intx;
            masked = disabled;
            Arrive();
        }
        return 0;
    }

    private int TriggerVectors(string index, string data, int start, int[] values)
    {
        if (active == index && values.Length == 0 && data == "none")
        {
            Disable();
            return 0;
        }
        if (active != "" && active != index)
            return -22;
        if (data != "eventfd")
        {
            for (var i = 0; active == index && i < values.Length; i++)
                If(data, values[i], () => Fire(start + i));
            return active == index ? 0 : -22;
        }
        if (active == index)
            return SetBlock(start, values);
        var wanted = start + values.Length;
        if (wanted == 0)
            return -34;
        if (wanted > available)
            return available;
        active = index;
        allocated.UnionWith(Enumerable.Range(0, wanted));
        var set = SetBlock(start, values);
        if (set != 0)
            Disable();
        return set;
    }

    private int SetBlock(int start, int[] fds)
    {
        for (var i = 0; i < fds.Length; i++)
        {
            attached.Remove(start + i);
            if (fds[i] < 0)
                continue;
            var errno = allocated.Contains(start + i) || (active == "Msix" && canGrow) ? Check(fds[i]) : -22;
            if (active == "Msix" && canGrow)
                allocated.Add(start + i);
            if (errno == 0)
            {
                attached[start + i] = fds[i];
                continue;
            }
            for (var j = 0; j <= i; j++)
                attached.Remove(start + j);
            return errno;
        }
        return 0;
    }

    private int TriggerOne(ref int target, string data, int[] values)
    {
        switch (data)
        {
            case "none" when target < 0:
                return -22;
            case "none" when values.Length == 0:
                target = -1;
                return 0;
            case "none":
                Signal(target);
                return 0;
            case var _ when values.Length == 0:
                return -22;
            case "bool":
                if (values[0] != 0)
                    Signal(target);
                return 0;
            case var _ when values[0] < -1:
                return -22;
            case var _ when Check(values[0]) != 0:
                return Check(values[0]);
            default:
                target = values[0];
                return 0;
        }
    }

    private void Disable()
    {
        active = "";
        intxTarget = resample = -1;
        masked = suspendMasked = false;
        allocated.Clear();
        attached.Clear();
    }
}
