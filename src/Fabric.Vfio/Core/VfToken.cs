namespace Fabric.Vfio.Core;

/// <summary>
/// The secret that a PF's holder shares with the holders of its VFs (LC-40), and how many VFs are open under it (LC-42). Used by the PF and
/// its VFs, whoever calls them; hence the lock.
/// </summary>
internal sealed class VfToken(Guid initial)
{
    private readonly Lock gate = new();
    private Guid value = initial;
    private int users;

    /// <summary>First-opens of VFs, not descriptors (LC-42).</summary>
    public int Users
    {
        get
        {
            lock (gate)
                return users;
        }
    }

    /// <summary>Feature VF_TOKEN: at any time, whatever VFs are open (LC-40).</summary>
    public void Set(Guid token)
    {
        lock (gate)
            value = token;
    }

    /// <summary>Whether a VF may be opened with a token. Errors: EACCES.</summary>
    public VfioResult MatchVirtualFunction(Guid? offered)
    {
        lock (gate)
        {
            if (offered is null)
                return Fail(Errno.EACCES, "The PF of this VF is held through vfio: opening the VF takes the PF's token.");
            return offered == value ? VfioResult.Ok : Wrong;
        }
    }

    /// <summary>Whether the PF may be opened with a token. Without VFs open, one that is offered becomes the token. Errors: EACCES.</summary>
    public VfioResult MatchPhysicalFunction(Guid? offered)
    {
        lock (gate)
        {
            if (users > 0)
            {
                if (offered is null)
                    return Fail(Errno.EACCES, "VFs of this PF are open: opening the PF takes their token.");
                return offered == value ? VfioResult.Ok : Wrong;
            }

            value = offered ?? value;
            return VfioResult.Ok;
        }
    }

    public void AddUser()
    {
        lock (gate)
            users++;
    }

    public void RemoveUser()
    {
        lock (gate)
            users--;
    }

    private static VfioResult Wrong => Fail(Errno.EACCES, "This is not the token of the PF.");

    private static VfioResult Fail(Errno errno, string sentence) => VfioResult.Fail(errno, sentence);
}
