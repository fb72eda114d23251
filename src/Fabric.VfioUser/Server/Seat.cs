using Fabric.Vfio;

namespace Fabric.VfioUser.Server;

/// <summary>The place of the one client that a device has (vfio-user, "Socket Disconnect Behavior").</summary>
internal sealed class Seat
{
    private readonly Lock gate = new();
    private ClientSession? holder;

    /// <summary>
    /// Takes the seat; one that leaves it is waited for. Errors: EBUSY while another client has it, ETIMEDOUT where one takes too long to leave.
    /// </summary>
    public async Task<VfioResult> TakeAsync(ClientSession session, TimeSpan patience, TimeProvider time, CancellationToken cancellation)
    {
        while (true)
        {
            Task left;
            lock (gate)
            {
                if (holder is null)
                {
                    holder = session;
                    return VfioResult.Ok;
                }

                if (!holder.IsLeaving)
                    return VfioResult.Fail(Errno.EBUSY, "Another client has the device; disconnect that first.");
                left = holder.Left;
            }

            try
            {
                await left.WaitAsync(patience, time, cancellation).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                return VfioResult.Fail(Errno.ETIMEDOUT, "The device does not let go of the client before this one; look what it hangs in.");
            }
        }
    }

    public void Leave(ClientSession session)
    {
        lock (gate)
        {
            if (ReferenceEquals(holder, session))
                holder = null;
        }
    }
}
