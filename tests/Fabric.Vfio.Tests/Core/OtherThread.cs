namespace Fabric.Vfio.Tests.Core;

/// <summary>Work on a thread of its own, for what is about two threads.</summary>
internal sealed class OtherThread<T>
{
    private readonly Thread thread;
    private T result = default!;

    public OtherThread(Func<T> work)
    {
        thread = new Thread(() => result = work()) { IsBackground = true };
        thread.Start();
    }

    /// <summary>Whether it comes to nothing for a while: long enough for one that does not wait.</summary>
    public bool Waits => !thread.Join(TimeSpan.FromMilliseconds(20));

    public T Result
    {
        get
        {
            Assert.True(thread.Join(TimeSpan.FromSeconds(10)), "The other thread did not end within ten seconds.");
            return result;
        }
    }
}
