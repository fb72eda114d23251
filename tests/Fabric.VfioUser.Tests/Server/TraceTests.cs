using System.Globalization;
using Fabric.Linux;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>
/// What a real client said, and what it was answered: QEMU 11.1.3 with vfio-user-pci in front of the model multi-function, from its start to a
/// guest's power-off (SeaBIOS, Linux 6.1, BARs read and written, a reset). One message a line: C from the client or S from the server, how many
/// descriptors came with it, its bytes.
/// </summary>
public sealed class TraceTests
{
    /// <summary>As much memory as the recorded guest had.</summary>
    private const int GuestBytes = 128 << 20;

    [Fact]
    public async Task A_recorded_session_of_QEMU_is_answered_byte_for_byte()
    {
        var trace = Path.Combine(AppContext.BaseDirectory, "Traces", "qemu-11.1.3.txt");
        var lines = await File.ReadAllLinesAsync(trace, TestContext.Current.CancellationToken);
        await using var lab = await Lab.StartAsync();
        using var client = await lab.ConnectAsync();
        using var memory = new ClientMemoryFile(GuestBytes, isSealed: true);
        using var eventfd = EventFd.Create();
        var compared = 0;
        for (var at = 0; at < lines.Length; at++)
        {
            var line = lines[at].Split(' ');
            var bytes = Convert.FromHexString(line[2]);
            Assert.True(MessageHeader.TryRead(bytes, out var header));
            if (line[0] == "C")
            {
                var fd = header.Command == Command.DmaMap ? memory.Fd : eventfd.Number;
                client.Send(bytes, [.. Enumerable.Repeat(fd, int.Parse(line[1], CultureInfo.InvariantCulture))]);
                continue;
            }

            var received = await client.ReceiveAsync();
            Assert.Equal((at, line[2]), (at, Convert.ToHexStringLower([.. TestClient.HeadOf(received.Header), .. received.Payload])));
            compared++;
        }

        Assert.Equal(304, compared);
    }
}
