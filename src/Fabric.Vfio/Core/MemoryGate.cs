namespace Fabric.Vfio.Core;

/// <summary>Why a function's memory cannot be used.</summary>
[Flags]
internal enum MemoryBlocks
{
    None = 0,

    /// <summary>COMMAND has memory decode off.</summary>
    Decode = 1 << 0,

    /// <summary>The function is in D3hot.</summary>
    Power = 1 << 1,

    /// <summary>The user has sent it into low power (LC-60).</summary>
    LowPower = 1 << 2,

    /// <summary>The session is over: nothing lifts this block.</summary>
    Session = 1 << 3,
}

/// <summary>
/// Stands between accesses to a function's memory and what makes that memory unusable (contract §11.3: memory_lock). Accesses share it, from
/// any thread. Who holds it alone has waited for the accesses under way, and keeps new ones waiting; what it then blocks is refused from
/// there on. One session, one gate.
/// </summary>
internal sealed class MemoryGate
{
    /// <summary>Recursive: a reset under the gate may turn memory off in its course.</summary>
    private readonly ReaderWriterLockSlim gate = new(LockRecursionPolicy.SupportsRecursion);

    private volatile MemoryBlocks blocks;

    public MemoryBlocks Blocks => blocks;

    /// <summary>Begins an access that ends with <see cref="Leave"/>. Returns what forbids it; then there is nothing to end.</summary>
    public MemoryBlocks TryEnter(MemoryBlocks despite)
    {
        gate.EnterReadLock();
        var forbidding = blocks & ~despite;
        if (forbidding != MemoryBlocks.None)
            gate.ExitReadLock();
        return forbidding;
    }

    /// <summary>The same without waiting: false while somebody has the gate alone, and where the access is forbidden.</summary>
    public bool TryEnterAtOnce(MemoryBlocks despite)
    {
        if (!gate.TryEnterReadLock(0))
            return false;
        if ((blocks & ~despite) == MemoryBlocks.None)
            return true;
        gate.ExitReadLock();
        return false;
    }

    public void Leave() => gate.ExitReadLock();

    /// <summary>Has the gate alone until <see cref="Unlock"/>.</summary>
    public void Lock() => gate.EnterWriteLock();

    /// <summary>Does not wait: false where an access is under way (LC-52).</summary>
    public bool TryLock() => gate.TryEnterWriteLock(0);

    public void Unlock() => gate.ExitWriteLock();

    /// <summary>Zaps: when it has returned no access is under way, and none begins (INV-1).</summary>
    public void Block(MemoryBlocks reason)
    {
        Lock();
        blocks |= reason;
        Unlock();
    }

    public void Unblock(MemoryBlocks reason)
    {
        Lock();
        blocks &= ~reason;
        Unlock();
    }
}
