using Fabric.Node.Configuration;

namespace Fabric.Node.Tests.Configuration;

public sealed class SettingsLoaderTests
{
    private static readonly string[] Control = ["--node:name=one", "--node:roles:0=control"];

    /// <summary>A file's content, and what the sentence about it must name.</summary>
    public static TheoryData<string, string> WrongFiles => new()
    {
        { """{ "node": { "roles": ["control"] }, "nodes": {} }""", "There is no setting nodes;" },
        { """{ "node": { "roles": ["control"], "colour": "blue" } }""", "There is no setting node.colour;" },
        { """{ "hardware": { "emulated": { "stateBytes": 1 } } }""", "There is no setting hardware.emulated.stateBytes;" },
        { """{ "node": { "roles": ["control"] }, "cluster": { "port": "many" } }""", "cluster.port is 'many'; it must be a whole number." },
        { """{ "cluster": { "port": 84.5 } }""", "cluster.port is '84.5'; it must be a whole number." },
        { """{ "cluster": { "port": 99999999999 } }""", "cluster.port is '99999999999'; it must be a whole number." },
        { """{ "cluster": { "port": { "tcp": 1 } } }""", "cluster.port is a section or a list; it must be a whole number." },
        { """{ "hardware": { "linux": { "enabled": "perhaps" } } }""", "hardware.linux.enabled is 'perhaps'; it must be true or false." },
        { """{ "node": { "name": ["a"] } }""", "node.name is a section or a list; it must be text." },
        { """{ "api": { "url": null } }""", "api.url is null; it must be text." },
        { """{ "node": { "roles": "control" } }""", "node.roles is 'control'; it must be a list of texts." },
        { """{ "node": { "roles": null } }""", "node.roles is null; it must be a list of texts." },
        { """{ "node": { "roles": { "control": true } } }""", "node.roles is 'True'; it must be a list of texts." },
        { """{ "cluster": { "seeds": [["127.0.0.1:1"]] } }""", "cluster.seeds is a section or a list; it must be a list of texts." },
        { """{ "node": "control" }""", "node is 'control'; it must be a section, { … }." },
        { """{ "node": { "name": "a", "name": "b" } }""", "could not be read as JSON: A duplicate key 'node:name' was found; correct it" },
        { """{ "node": { "name": "a" """, "could not be read as JSON, line 1: " },
        { "{\n\n  \"node\": oops\n}", "could not be read as JSON, line 3: " },
        { "[]", "could not be read as JSON" },
        { "", "could not be read as JSON" },
        { "\0\u0001", "could not be read as JSON" },
    };

    /// <summary>An argument, and what the sentence about it must name.</summary>
    public static TheoryData<string, string> WrongValues => new()
    {
        { "--node:name=Upper", "node.name 'Upper'" },
        { "--node:name=-dash", "node.name '-dash'" },
        { "--node:name=line\n", "node.name 'line" },
        { "--node:name=under_score", "node.name 'under_score'" },
        { $"--node:name={new string('a', 64)}", "node.name 'aaa" },
        { "--node:roles:1=guest", "node.roles has 'guest'" },
        { "--node:roles:1=Host", "node.roles has 'Host'" },
        { "--node:dataDirectory=", "node.dataDirectory is empty" },
        { "--node:labels:0=zone", "node.labels has 'zone'; write key=value" },
        { "--node:labels:0=zone=a b", "node.labels has 'zone=a b'; write key=value" },
        { "--fleet:migrations=0", "fleet.migrations must be 1 to 1000" },
        { "--fleet:outgoingPerHost=0", "fleet.outgoingPerHost must be 1 to 1000" },
        { "--fleet:attempts=0", "fleet.attempts must be 1 to 100" },
        { "--fleet:breaker:sharePercent=101", "fleet.breaker.sharePercent must be 1 to 100" },
        { "--fleet:breaker:least=0", "fleet.breaker.least must be 1 to 1000000" },
        { "--fleet:breaker:window=soon", "fleet.breaker.window 'soon'" },
        { "--cluster:address=0.0.0.0", "cluster.address '0.0.0.0' is not loopback" },
        { "--cluster:address=192.0.2.1", "cluster.address '192.0.2.1' is not loopback" },
        { "--cluster:address=::", "cluster.address '::' is not loopback" },
        { "--cluster:address=localhost", "cluster.address 'localhost' is not an IP address" },
        { "--cluster:port=-1", "cluster.port -1 is not a port" },
        { "--cluster:port=65536", "cluster.port 65536 is not a port" },
        { "--cluster:seeds:0=127.0.0.1", "cluster.seeds has '127.0.0.1'; write ip:port" },
        { "--cluster:seeds:0=127.0.0.1:0", "cluster.seeds has '127.0.0.1:0'; write ip:port" },
        { "--cluster:seeds:0=127.0.0.1:99999", "cluster.seeds has '127.0.0.1:99999'; write ip:port" },
        { "--cluster:seeds:0=control:8471", "cluster.seeds has 'control:8471'; write ip:port" },
        { "--cluster:seeds:0=1:2", "cluster.seeds has '1:2'; write ip:port" },
        { "--cluster:seeds:0=192.0.2.1:8471", "cluster.seeds has '192.0.2.1:8471', which is not loopback" },
        { "--dataPlane:address=10.0.0.1", "dataPlane.address '10.0.0.1' is not loopback" },
        { "--dataPlane:port=70000", "dataPlane.port 70000 is not a port" },
        { "--api:url=http://0.0.0.0:8470", "api.url 'http://0.0.0.0:8470' is not loopback" },
        { "--api:url=http://192.0.2.1:8470", "api.url 'http://192.0.2.1:8470' is not loopback" },
        { "--api:url=http://[::]:8470", "api.url 'http://[::]:8470' is not loopback" },
        { "--api:url=https://127.0.0.1:8470", "api.url 'https://127.0.0.1:8470' needs tls" },
        { "--api:url=ftp://127.0.0.1:8470", "api.url 'ftp://127.0.0.1:8470' must be http://ip:port" },
        { "--tls:certificate=node.pem", "tls has 1 of certificate, key and ca" },
        { "--api:url=http://localhost:8470", "api.url 'http://localhost:8470' must be http://ip:port" },
        { "--api:url=http://127.0.0.1:8470/base", "api.url 'http://127.0.0.1:8470/base' must be http://ip:port" },
        { "--api:url=127.0.0.1:8470", "api.url '127.0.0.1:8470' must be http://ip:port" },
        { "--api:url=http://*:8470", "api.url 'http://*:8470' must be http://ip:port" },
        { "--hardware:emulated:accelerators=17", "hardware.emulated.accelerators must be 0 to 16" },
        { "--hardware:emulated:accelerators=-1", "hardware.emulated.accelerators must be 0 to 16" },
        { "--hardware:emulated:functionsPerAccelerator=8", "hardware.emulated.functionsPerAccelerator must be 0 to 7" },
        { "--hardware:emulated:stateSize=lots", "hardware.emulated.stateSize 'lots'" },
        { "--hardware:emulated:stateSize=0", "hardware.emulated.stateSize '0'" },
        { "--hardware:emulated:stateSize=100KiB", "hardware.emulated.stateSize '100KiB'" },
        { "--hardware:emulated:stateSize=-1MiB", "hardware.emulated.stateSize '-1MiB'" },
        { "--hardware:emulated:stateSize=33GiB", "hardware.emulated.stateSize '33GiB'" },
        { "--hardware:emulated:stateSize=99999999999999999999GiB", "hardware.emulated.stateSize '99999999999999999999GiB'" },
        { "--devices:callDeadline=5", "devices.callDeadline '5' must be a whole number of ms, s, min or h" },
        { "--devices:callDeadline=0s", "devices.callDeadline '0s'" },
        { "--devices:callDeadline=11min", "devices.callDeadline '11min'" },
        { "--devices:callDeadline=-1s", "devices.callDeadline '-1s'" },
        { "--devices:slowCallDeadline=1.5s", "devices.slowCallDeadline '1.5s'" },
        { "--devices:turnDeadline=soon", "devices.turnDeadline 'soon'" },
        { "--devices:voteDeadline=s", "devices.voteDeadline 's'" },
        { "--devices:budgetWindow=999h", "devices.budgetWindow '999h'" },
        { "--devices:errorInterval=2min", "devices.errorInterval '2min'" },
        { "--devices:restartBudget=-1", "devices.restartBudget must be 0 to 1000" },
        { "--devices:freezeBudget=1001", "devices.freezeBudget must be 0 to 1000" },
        { "--devices:concurrentProbes=0", "devices.concurrentProbes must be 1 to 1024" },
        { "--devices:retryContention:tries=101", "devices.retryContention.tries must be 0 to 100" },
        { "--devices:retryContention:delay=1h", "devices.retryContention.delay '1h'" },
        { "--devices:retryContention:factor=0", "devices.retryContention.factor must be 1 to 10" },
        { "--devices:retryContention:often=1", "There is no setting devices.retryContention.often;" },
        { "--devices:resetOrder:0=hammer", "devices.resetOrder has 'hammer'" },
        { "--journal:connection=nonsense", "journal.connection is no PostgreSQL connection string" },
        { "--journal:connection=Host=127.0.0.1;Prot=5432", "journal.connection is no PostgreSQL connection string" },
        { "--journal:connection=Host=127.0.0.1;Port=many", "journal.connection is no PostgreSQL connection string" },
        { "--journal:connection=Database=fabric", "journal.connection names no Host" },
        { "--hardware:emulated:cards:0:model=nvme", "hardware.emulated.cards has model 'nvme'; there are accelerator, " },
        { "--hardware:vfioUser:0:socket=s", "hardware.vfioUser has address ''; write one of domain fabe, such as fabe:00:01.0." },
        { "--hardware:vfioUser:0:address=0000:00:01.0", "hardware.vfioUser has address '0000:00:01.0'; write one of domain fabe" },
        { "--hardware:vfioUser:0:address=fabe:00:01.0", "hardware.vfioUser has socket ''; write the path of a UNIX socket" },
        { "--hardware:emulated:cards:0=null", "hardware.emulated.cards is 'null'; it must be a list of sections." },
        { "--hardware:emulated:cards:0:colour=red", "There is no setting hardware.emulated.cards.0.colour" },
        { "--hardware:withoutDrivers:0=nvme", "hardware.withoutDrivers has 'nvme'; there are accelerator, " },
        { "--hardware:emulated:mdevParents:0=mill", "hardware.emulated.mdevParents has 'mill'; there are mtty, mdpy, mbochs." },
        { "--hardware:emulated:mdevParents=mtty", "hardware.emulated.mdevParents is 'mtty'; it must be a list of texts" },
        { "--hardware:linux:functions:0=eth0", "hardware.linux.functions has 'eth0'; write addresses such as 0000:3b:00.2" },
        { "--node:colour=blue", "There is no setting node.colour;" },
        { "--verbose", "--verbose has no value" },
        { "verbose", "'verbose' is not a setting" },
        { "-v", "'-v' is not a setting" },
    };

    [Theory, MemberData(nameof(WrongFiles))]
    public void A_wrong_file_is_refused_with_a_sentence_that_names_what_is_wrong(string content, string named)
    {
        using var folder = new TemporaryFolder();

        var refused = Assert.Throws<SettingsException>(() => SettingsLoader.Load(folder.File("fabricd.json", content), []));

        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refused.Message);
    }

    [Theory, MemberData(nameof(WrongValues))]
    public void A_wrong_value_is_refused_with_a_sentence_that_names_the_setting(string argument, string named)
    {
        var refused = Assert.Throws<SettingsException>(() => SettingsLoader.Load(null, [.. Control, argument]));

        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_is_named()
    {
        var refused = Assert.Throws<SettingsException>(() => SettingsLoader.Load("/nowhere/fabricd.json", []));

        Assert.Contains("/nowhere/fabricd.json", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_daemon_without_roles_is_refused()
    {
        var refused = Assert.Throws<SettingsException>(() => SettingsLoader.Load(null, ["--node:name=one"]));

        Assert.Equal("node.roles is empty; give 'control', 'host' or both.", refused.Message);
    }

    [Fact]
    public void A_host_without_seeds_is_refused()
    {
        var refused = Assert.Throws<SettingsException>(() => SettingsLoader.Load(null, ["--node:name=one", "--node:roles:0=host"]));

        Assert.StartsWith("cluster.seeds is empty;", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Arguments_win_over_the_file()
    {
        using var folder = new TemporaryFolder();
        var file = folder.File("fabricd.json", """
            // Comments are allowed,
            { "NODE": { "roles": ["control"], "name": "from-file" }, "cluster": { "port": 5, }, }
            """);

        var settings = SettingsLoader.Load(file, ["--node:name=from-argument"]);

        Assert.Equal(("from-argument", 5), (settings.Node.Name, settings.Cluster.Port));
    }

    [Fact]
    public void A_reset_method_twice_is_refused()
    {
        var refused = Assert.Throws<SettingsException>(
            () => SettingsLoader.Load(null, [.. Control, "--devices:resetOrder:0=flr", "--devices:resetOrder:1=flr"]));

        Assert.StartsWith("devices.resetOrder has a method twice", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_mdev_parent_twice_is_refused()
    {
        var refused = Assert.Throws<SettingsException>(
            () => SettingsLoader.Load(null, [.. Control, "--hardware:emulated:mdevParents:0=mtty", "--hardware:emulated:mdevParents:1=mtty"]));

        Assert.StartsWith("hardware.emulated.mdevParents has a parent twice", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_empty_name_is_the_machines()
    {
        var settings = SettingsLoader.Load(null, ["--node:roles:0=control", "--node:name="]);

        Assert.Equal(Environment.MachineName.ToLowerInvariant(), settings.Node.Name);
    }

    [Theory]
    [InlineData("--cluster:address=192.0.2.1")]
    [InlineData("--dataPlane:address=192.0.2.1")]
    [InlineData("--cluster:seeds:0=192.0.2.1:8471")]
    [InlineData("--api:url=https://192.0.2.1:8470")]
    public void With_TLS_any_address_is_let_through(string address) =>
        SettingsLoader.Load(null, ["--node:roles:0=control", address, "--tls:certificate=a.pem", "--tls:key=a.key", "--tls:ca=ca.pem"]);

    [Theory]
    [InlineData("--cluster:address=192.0.2.1")]
    [InlineData("--dataPlane:address=192.0.2.1")]
    [InlineData("--cluster:seeds:0=192.0.2.1:8471")]
    [InlineData("--api:url=http://192.0.2.1:8470")]
    public void Told_that_it_is_meant_any_address_is_let_through_without_TLS(string address) =>
        SettingsLoader.Load(null, ["--node:roles:0=control", address, "--cluster:insecure=true"]);

    [Theory]
    [InlineData("--cluster:address=0.0.0.0")]
    [InlineData("--dataPlane:address=::")]
    public void An_address_that_nobody_can_be_reached_on_is_refused_even_then(string address)
    {
        var wrong = Assert.Throws<SettingsException>(() => SettingsLoader.Load(null, ["--node:roles:0=control", address, "--cluster:insecure=true"]));

        Assert.Contains("is every address of this machine", wrong.Message);
    }

    [Fact]
    public void TLS_does_not_make_an_API_in_the_clear_safe()
    {
        var wrong = Assert.Throws<SettingsException>(() => SettingsLoader.Load(
            null,
            ["--node:roles:0=control", "--api:url=http://192.0.2.1:8470", "--tls:certificate=a.pem", "--tls:key=a.key", "--tls:ca=ca.pem"]));

        Assert.Contains("write https with tls", wrong.Message);
    }

    [Theory]
    [InlineData("--cluster:address=::1")]
    [InlineData("--cluster:seeds:0=[::1]:8471")]
    [InlineData("--cluster:address=127.8.9.10")]
    [InlineData("--api:url=http://[::1]:0")]
    [InlineData("--hardware:emulated:stateSize=1 GiB")]
    [InlineData("--hardware:emulated:stateSize=262144")]
    public void What_is_within_bounds_is_taken(string argument) => Assert.Equal("one", SettingsLoader.Load(null, [.. Control, argument]).Node.Name);
}
