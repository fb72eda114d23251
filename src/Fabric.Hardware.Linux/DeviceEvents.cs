using System.Runtime.InteropServices;
using System.Text;
using Fabric.Linux;
using Fabric.Pci;

namespace Fabric.Hardware.Linux;

/// <summary>What the kernel tells of a PCI function (uevent).</summary>
/// <param name="Action">The kernel's word: add, remove, bind, unbind, change.</param>
/// <param name="Driver">Of bind; else null.</param>
internal sealed record DeviceEvent(string Action, PciAddress Function, string? Driver)
{
    /// <summary>
    /// A message of the kernel: a line such as <c>bind@/devices/pci0000:00/0000:00:08.0/0000:01:00.0</c>, then KEY=value, each ended by a zero byte.
    /// Null for what is not about a PCI function.
    /// </summary>
    public static DeviceEvent? Parse(ReadOnlySpan<byte> message)
    {
        string? action = null, driver = null;
        PciAddress? function = null;
        var isPci = false;
        foreach (var range in message.Split((byte)0))
        {
            var field = Encoding.UTF8.GetString(message[range]);
            var at = field.IndexOf('=', StringComparison.Ordinal);
            if (at < 0)
                continue;
            var value = field[(at + 1)..];
            switch (field[..at])
            {
                case "ACTION":
                    action = value;
                    break;
                case "SUBSYSTEM":
                    isPci = value == "pci";
                    break;
                case "PCI_SLOT_NAME" when PciAddress.TryParse(value, out var address):
                    function = address;
                    break;
                case "DRIVER":
                    driver = value;
                    break;
            }
        }

        return isPci && action is not null && function is { } named ? new DeviceEvent(action, named, driver) : null;
    }
}

/// <summary>
/// The kernel's messages about PCI functions, as they come (netlink, NETLINK_KOBJECT_UEVENT). Where the kernel had to drop some, everything is to be
/// looked at anew.
/// </summary>
internal sealed class DeviceEvents : IDisposable
{
    private const int KernelsGroup = 1;

    /// <summary>UEVENT_BUFFER_SIZE and the line before it.</summary>
    private const int LargestMessage = 4096;

    private readonly Descriptor socket;
    private readonly Action<DeviceEvent> told;
    private readonly Action dropped;
    private readonly IDisposable watched;

    private DeviceEvents(Descriptor socket, EventWatch watch, Action<DeviceEvent> told, Action dropped)
    {
        (this.socket, this.told, this.dropped) = (socket, told, dropped);
        watched = watch.Add(socket, Receive);
    }

    /// <summary>Null where this process may not listen: in a network namespace of its own the kernel tells nothing.</summary>
    /// <param name="told">Must not block.</param>
    /// <param name="dropped">Messages were lost.</param>
    public static unsafe DeviceEvents? Listen(EventWatch watch, Action<DeviceEvent> told, Action dropped)
    {
        var fd = Libc.Socket(Libc.NetlinkFamily, Libc.RawSocket | Libc.CloseOnExec | Libc.NonBlocking, Libc.KernelObjectEvents);
        if (fd < 0)
            return null;
        var socket = new Descriptor(fd);
        var address = new Libc.NetlinkAddress { Family = Libc.NetlinkFamily, Groups = KernelsGroup };
        if (Libc.Bind(socket, &address, (uint)sizeof(Libc.NetlinkAddress)) == 0)
            return new DeviceEvents(socket, watch, told, dropped);
        socket.Dispose();
        return null;
    }

    public void Dispose()
    {
        watched.Dispose();
        socket.Dispose();
    }

    private unsafe void Receive()
    {
        Span<byte> message = stackalloc byte[LargestMessage];
        while (true)
        {
            nint length;
            fixed (byte* bytes = message)
                length = Libc.Read(socket, bytes, LargestMessage);
            if (length < 0)
            {
                var errno = Marshal.GetLastPInvokeError();
                if (errno == Libc.ENOBUFS)
                    dropped();
                if (errno is not (Libc.ENOBUFS or Libc.EINTR))
                    return;
                continue;
            }

            if (DeviceEvent.Parse(message[..(int)length]) is { } happened)
                told(happened);
        }
    }
}
