using System.Text;
using Akka.Actor;
using Fabric.Devices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;
using Fabric.VfioUser.Protocol;
using Fabric.VfioUser.Server;

namespace Fabric.VfioUser.Tests.Server;

/// <summary>VERSION, one session a connection, the socket's file.</summary>
public sealed class SessionTests
{
    [Fact]
    public async Task VERSION_of_QEMU_is_answered_within_the_214_bytes_that_it_receives()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.ConnectAsync();
        var reply = await client.HandshakeAsync();
        Assert.InRange(reply.Header.Size, 20u, 214u);
        Assert.Equal(new VersionPayload(0, 0), reply.As<VersionPayload>());
        Assert.Equal(
            """{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":4096,"pgsizes":4096,"write_multiple":true}}""" + "\0",
            Encoding.UTF8.GetString(reply.Payload[4..]));
    }

    [Fact]
    public void The_largest_answer_that_there_is_fits_too()
    {
        var json = new System.Buffers.ArrayBufferWriter<byte>();
        new PeerCapabilities(int.MaxValue, uint.MaxValue, uint.MaxValue, ulong.MaxValue, true).Write(json);
        Assert.InRange(MessageHeader.Bytes + 4 + json.WrittenCount, 1, 214);
    }

    [Fact]
    public async Task A_client_without_capabilities_gets_the_defaults_and_no_write_multiple()
    {
        await using var lab = await Lab.StartAsync();
        using var client = await lab.ConnectAsync();
        var reply = await client.HandshakeAsync(json: "");
        Assert.DoesNotContain("write_multiple", Encoding.UTF8.GetString(reply.Payload), StringComparison.Ordinal);
        Assert.Equal(Errno.EINVAL, (await client.RequestAsync(Command.RegionWriteMulti, new byte[8])).Errno);
    }

    [Fact]
    public async Task A_second_client_is_answered_EBUSY_and_the_first_goes_on()
    {
        await using var lab = await Lab.StartAsync();
        using var first = await lab.OpenAsync();
        using var second = await lab.ConnectAsync();
        Assert.Equal(Errno.EBUSY, (await second.RequestAsync(Command.Version, TestClient.VersionPayloadOf())).Errno);
        await second.ExpectEndAsync();
        await first.ExpectServedAsync();
    }

    [Fact]
    public async Task The_next_client_is_served_as_soon_as_the_one_before_it_has_left()
    {
        await using var lab = await Lab.StartAsync();
        for (var round = 0; round < 5; round++)
        {
            using var client = await lab.OpenAsync();
            await client.WriteAsync(RegionIndex.Config, 4, 2, 0);
            await client.WriteAsync(0, 0x800, 1, 2, 3, 4);
        }
    }

    [Fact]
    public async Task Who_holds_the_device_otherwise_is_why_a_client_is_refused()
    {
        await using var lab = await Lab.StartAsync();
        var holder = await DeviceClient.OpenAsync(lab.Front, "another", lab.System.ActorOf(Props.Create(static () => new ClientLife())));
        using var client = await lab.ConnectAsync();
        Assert.Equal(Errno.EBUSY, (await client.RequestAsync(Command.Version, TestClient.VersionPayloadOf())).Errno);
        await client.ExpectEndAsync();
        Assert.True((await holder.Value.CloseAsync()).IsOk);
        await lab.ExpectServesAsync();
    }

    [Fact]
    public async Task The_socket_is_its_owners_alone_and_goes_with_the_server()
    {
        var lab = await Lab.StartAsync();
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(lab.Path));
        await lab.Server.DisposeAsync();
        Assert.False(Path.Exists(lab.Path));
        await lab.DisposeAsync();
    }

    [Fact]
    public async Task A_socket_that_a_dead_server_left_is_taken_away()
    {
        await using var lab = await Lab.StartAsync();
        var path = lab.Path + "2";
        using (var dead = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, 0))
        {
            dead.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(path));
            // .NET takes its socket's file away when it is disposed of; who is killed does not.
            File.Move(path, path + "x");
        }

        File.Move(path + "x", path);
        await using var server = (await VfioUserServer.StartAsync(lab.System, lab.Front, path)).Value;
        using var client = await TestClient.ConnectAsync(path);
        await client.HandshakeAsync();
    }

    [Fact]
    public async Task A_server_takes_no_path_where_another_listens_or_something_else_is()
    {
        await using var lab = await Lab.StartAsync();
        Assert.Equal(Errno.EBUSY, (await VfioUserServer.StartAsync(lab.System, lab.Front, lab.Path)).Error.Errno);
        await File.WriteAllTextAsync(lab.Path + "f", "precious", TestContext.Current.CancellationToken);
        Assert.Equal(Errno.EEXIST, (await VfioUserServer.StartAsync(lab.System, lab.Front, lab.Path + "f")).Error.Errno);
        Assert.Equal("precious", await File.ReadAllTextAsync(lab.Path + "f", TestContext.Current.CancellationToken));
        Assert.Equal(Errno.EINVAL, (await VfioUserServer.StartAsync(lab.System, lab.Front, lab.Path + new string('x', 108))).Error.Errno);
        Assert.Equal(Errno.ENOENT, (await VfioUserServer.StartAsync(lab.System, lab.Front, lab.Path + "d/s")).Error.Errno);
        await lab.ExpectServesAsync();
    }
}
