using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Emulated.Mtty;

/// <summary>
/// The serial card's pin, level-triggered, and its one MSI vector. Nobody is signalled under the card's lock; whoever finds a signal being
/// delivered already leaves his to who delivers, so that a handler may use the card while it is signalled, and nobody waits for it.
/// </summary>
/// <param name="clock">The card's lock.</param>
internal sealed class MttyInterrupts(Lock clock, MttyConfig config, int ports) : IFunctionInterrupts
{
    /// <summary>Held by who delivers; who takes a handler away waits for it, and nobody else does.</summary>
    private readonly Lock delivery = new();
    private readonly bool[] requests = new bool[ports];
    private IEventTarget? line;
    private bool isLineMasked;

    /// <summary>The line's handler has been signalled of the level that stands.</summary>
    private bool isLineSeen;
    private IEventTarget? vector;
    private bool isVectorAllocated;
    private bool isDelivering;

    /// <summary>A port began to ask, and no message has told of it.</summary>
    private bool owesMessage;

    public bool HasLine => true;

    public bool CanGrowMsix => false;

    private bool IsRequested => requests.AsSpan().Contains(true);

    private bool IsAsserted => line is not null && IsRequested && !config.IsMsiOn && !config.IsIntxDisabled && !isLineMasked;

    public VfioResult ConnectLine(IEventTarget handler, bool exclusive)
    {
        lock (clock)
        {
            if (line is not null)
                return VfioResult.Fail(Errno.EBUSY, "The card's interrupt line is connected already.");
            (line, isLineMasked, isLineSeen) = (handler, false, false);
        }

        Deliver();
        return VfioResult.Ok;
    }

    public void DisconnectLine()
    {
        lock (clock)
            line = null;
        AwaitDelivery();
    }

    public void MaskLine(bool masked)
    {
        lock (clock)
        {
            isLineMasked = masked;
            Settle();
        }

        Deliver();
    }

    public VfioResult<int> Allocate(IrqIndex type, int count)
    {
        lock (clock)
        {
            if (type != IrqIndex.Msi)
                return new VfioError(Errno.ENODEV, "The serial card has MSI and no MSI-X.");
            if (count <= 1)
            {
                isVectorAllocated = config.IsMsiOn = true;
                Settle();
            }

            return 1;
        }
    }

    public VfioResult Grow(int vector) => VfioResult.Fail(Errno.EINVAL, "The serial card has one vector.");

    public void Free()
    {
        lock (clock)
        {
            isVectorAllocated = config.IsMsiOn = false;
            Settle();
        }

        Deliver();
    }

    public VfioResult Connect(int vector, IEventTarget handler)
    {
        lock (clock)
        {
            if (!isVectorAllocated || vector != 0)
                return VfioResult.Fail(Errno.EINVAL, "The vector is not allocated.");
            this.vector = handler;
        }

        Deliver();
        return VfioResult.Ok;
    }

    public void Disconnect(int vector)
    {
        lock (clock)
            this.vector = null;
        AwaitDelivery();
    }

    /// <summary>Whether a port asks for an interrupt now. The card's lock is held; <see cref="Deliver"/> is called when it is not any more.</summary>
    public void Observe(int port, bool request)
    {
        owesMessage |= request && !requests[port];
        requests[port] = request;
        Settle();
    }

    /// <summary>Signals whoever is to be signalled. The card's lock is not held.</summary>
    public void Deliver()
    {
        lock (clock)
        {
            if (isDelivering)
                return;
            isDelivering = true;
        }

        lock (delivery)
        {
            try
            {
                while (TakeDue() is { } due)
                    due.Signal();
            }
            catch
            {
                lock (clock)
                    isDelivering = false;
                throw;
            }
        }
    }

    /// <summary>
    /// Null when there is nothing more, and the delivery has ended with that: under one lock, so that whoever comes later finds it ended.
    /// </summary>
    private IEventTarget? TakeDue()
    {
        lock (clock)
        {
            if (IsLineDue)
            {
                isLineSeen = true;
                return line;
            }

            if (IsMessageDue)
            {
                owesMessage = false;
                return vector;
            }

            isDelivering = false;
            return null;
        }
    }

    private bool IsLineDue => IsAsserted && !isLineSeen;

    private bool IsMessageDue => owesMessage && vector is not null && config.SendsMessages;

    /// <summary>Lets go of what has passed: a level that fell, and a message of what nobody asks for any more. The card's lock is held.</summary>
    public void Settle()
    {
        config.IsInterruptPending = IsRequested;
        isLineSeen &= IsAsserted;
        owesMessage &= IsRequested;
    }

    private void AwaitDelivery()
    {
        lock (delivery)
        {
            // Whoever was signalled has returned.
        }
    }
}
