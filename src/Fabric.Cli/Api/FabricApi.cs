using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json;
using Fabric.Node.Api;

namespace Fabric.Cli.Api;

/// <summary>
/// The HTTP API of one daemon. Every method throws <see cref="ApiProblem"/> where the daemon says no, <see cref="ApiUnreachable"/>
/// where none answers or not within the deadline, and <see cref="CommandFailure"/> where something else than a daemon answers.
/// </summary>
internal sealed class FabricApi : IDisposable
{
    /// <summary>Most of one answer that is read, in bytes.</summary>
    private const int LargestAnswer = 64 << 20;

    /// <summary>Limit of a request that is work in itself: it goes through all of a device's state, or waits for its reset.</summary>
    private static readonly TimeSpan WorkDeadline = TimeSpan.FromMinutes(2);

    private readonly HttpClient _http;
    private readonly TimeProvider _time;
    private readonly TimeSpan _deadline;

    /// <param name="deadline">Limit of one request, but for those that are work in themselves.</param>
    /// <param name="requester">Who asks, as histories show it; null leaves it to the daemon, which knows the address.</param>
    public FabricApi(Uri server, TimeProvider time, TimeSpan deadline, string? requester = null)
        : this(server, time, deadline, Transport.To(server, null, null, null), requester)
    {
    }

    public FabricApi(Uri server, TimeProvider time, TimeSpan deadline, HttpMessageHandler handler, string? requester = null)
    {
        Server = server;
        _time = time;
        _deadline = deadline;
        _http = new HttpClient(handler)
        {
            BaseAddress = new Uri(server.AbsoluteUri.TrimEnd('/') + "/"),
            Timeout = System.Threading.Timeout.InfiniteTimeSpan,
            MaxResponseContentBufferSize = LargestAnswer,
        };
        if (requester is not null)
            _http.DefaultRequestHeaders.Add("Fabric-Requester", requester);
    }

    public Uri Server { get; }

    /// <summary>The first request that would change something asks for its plan instead, and ends the command with <see cref="PlanAnswered"/>.</summary>
    public bool PlansOnly { get; init; }

    private string ServerText => Server.AbsoluteUri.TrimEnd('/');

    public Task<ApiReply<ListResource<HostResource>>> HostsAsync(CancellationToken cancellation) =>
        GetAsync<ListResource<HostResource>>("api/v1/hosts", cancellation);

    public Task<ApiReply<HostResource>> HostAsync(string host, CancellationToken cancellation) =>
        GetAsync<HostResource>($"api/v1/hosts/{Escape(host)}", cancellation);

    public Task<ApiReply<DrainResource>> DrainAsync(string host, DrainRequest request, CancellationToken cancellation) =>
        SendAsync<DrainResource>(HttpMethod.Post, $"api/v1/hosts/{Escape(host)}/drain", request, cancellation);

    public Task<ApiReply<OperationResource>> UndrainAsync(string host, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Post, $"api/v1/hosts/{Escape(host)}/undrain", null, cancellation);

    public Task<ApiReply<ListResource<DrainResource>>> DrainsAsync(CancellationToken cancellation) =>
        GetAsync<ListResource<DrainResource>>("api/v1/drains", cancellation);

    public Task<ApiReply<RebalanceResource>> RebalanceAsync(CancellationToken cancellation) =>
        GetAsync<RebalanceResource>("api/v1/rebalance", cancellation);

    public Task<ApiReply<RebalanceResource>> StartRebalanceAsync(RebalanceRequest request, CancellationToken cancellation) =>
        SendAsync<RebalanceResource>(HttpMethod.Post, "api/v1/rebalance", request, cancellation);

    public Task<ApiReply<PlanResource>> PlanRebalanceAsync(RebalanceRequest request, CancellationToken cancellation) =>
        SendAsync<PlanResource>(HttpMethod.Post, "api/v1/rebalance?plan=true", request, cancellation);

    public Task<ApiReply<RebalanceResource>> StopRebalanceAsync(CancellationToken cancellation) =>
        SendAsync<RebalanceResource>(HttpMethod.Delete, "api/v1/rebalance", null, cancellation);

    public Task<ApiReply<BreakerResource>> BreakerAsync(CancellationToken cancellation) =>
        GetAsync<BreakerResource>("api/v1/breaker", cancellation);

    public Task<ApiReply<BreakerResource>> ResetBreakerAsync(CancellationToken cancellation) =>
        SendAsync<BreakerResource>(HttpMethod.Post, "api/v1/breaker/reset", null, cancellation);

    public Task<ApiReply<ListResource<DeviceResource>>> DevicesAsync(string? host, CancellationToken cancellation) =>
        GetAsync<ListResource<DeviceResource>>(host is null ? "api/v1/devices" : $"api/v1/devices?host={Escape(host)}", cancellation);

    public Task<ApiReply<DeviceResource>> DeviceAsync(string host, string address, CancellationToken cancellation) =>
        GetAsync<DeviceResource>(Device(host, address), cancellation);

    public Task<ApiReply<ListResource<DeviceEventResource>>> DeviceHistoryAsync(
        string host, string address, int? limit, CancellationToken cancellation) =>
        GetAsync<ListResource<DeviceEventResource>>($"{Device(host, address)}/history{(limit is null ? "" : $"?limit={limit}")}", cancellation);

    public Task<ApiReply<InspectResource>> InspectDeviceAsync(string host, string address, CancellationToken cancellation) =>
        GetAsync<InspectResource>($"{Device(host, address)}/inspect", cancellation);

    public Task<ApiReply<OperationResource>> ResetDeviceAsync(
        string host, string address, ResetDeviceRequest request, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Post, $"{Device(host, address)}/reset", request, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> SetResetMethodsAsync(
        string host, string address, ResetMethodsRequest request, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Put, $"{Device(host, address)}/reset-methods", request, cancellation);

    public Task<ApiReply<OperationResource>> QuarantineDeviceAsync(
        string host, string address, QuarantineRequest request, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Post, $"{Device(host, address)}/quarantine", request, cancellation);

    public Task<ApiReply<OperationResource>> UnquarantineDeviceAsync(string host, string address, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Post, $"{Device(host, address)}/unquarantine", null, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> RemoveDeviceAsync(
        string host, string address, RemoveDeviceRequest request, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Post, $"{Device(host, address)}/remove", request, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> OverrideDriverAsync(
        string host, string address, DriverOverrideRequest request, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Put, $"{Device(host, address)}/driver-override", request, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> ClearDriverOverrideAsync(string host, string address, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Delete, $"{Device(host, address)}/driver-override", null, cancellation, WorkDeadline);

    public Task<ApiReply<ListResource<DriverResource>>> DriversAsync(string host, CancellationToken cancellation) =>
        GetAsync<ListResource<DriverResource>>($"api/v1/hosts/{Escape(host)}/drivers", cancellation);

    public Task<ApiReply<ListResource<DriverResource>>> LoadDriversAsync(string host, LoadDriversRequest request, CancellationToken cancellation) =>
        SendAsync<ListResource<DriverResource>>(HttpMethod.Post, $"api/v1/hosts/{Escape(host)}/drivers/load", request, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> UnloadDriverAsync(string host, string driver, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Post, $"api/v1/hosts/{Escape(host)}/drivers/{Escape(driver)}/unload", null, cancellation, WorkDeadline);

    public Task<ApiReply<SriovResource>> SetSriovAsync(string host, string address, SriovRequest request, CancellationToken cancellation) =>
        SendAsync<SriovResource>(HttpMethod.Put, $"{Device(host, address)}/sriov", request, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> BindDeviceAsync(string host, string address, BindDeviceRequest request, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Put, $"{Device(host, address)}/binding", request, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> UnbindDeviceAsync(string host, string address, bool group, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Delete, $"{Device(host, address)}/binding{(group ? "?group=true" : "")}", null, cancellation, WorkDeadline);

    public Task<ApiReply<SocketResource>> ServeAsync(string host, string address, ServeDeviceRequest request, CancellationToken cancellation) =>
        SendAsync<SocketResource>(HttpMethod.Put, $"{Device(host, address)}/socket", request, cancellation, WorkDeadline);

    public Task<ApiReply<SocketResource>> EndServingAsync(string host, string address, CancellationToken cancellation) =>
        SendAsync<SocketResource>(HttpMethod.Delete, $"{Device(host, address)}/socket", null, cancellation, WorkDeadline);

    public Task<ApiReply<ListResource<SocketResource>>> SocketsAsync(string host, CancellationToken cancellation) =>
        GetAsync<ListResource<SocketResource>>($"api/v1/hosts/{Escape(host)}/sockets", cancellation);

    public Task<ApiReply<FaultResource>> InjectAsync(string host, string address, FaultRequest request, CancellationToken cancellation) =>
        SendAsync<FaultResource>(HttpMethod.Post, $"{Device(host, address)}/faults", request, cancellation, WorkDeadline);

    public Task<ApiReply<ListResource<MdevTypeResource>>> MdevTypesAsync(string host, CancellationToken cancellation) =>
        GetAsync<ListResource<MdevTypeResource>>($"{Mdevs(host)}/types", cancellation);

    public Task<ApiReply<MdevListResource>> MdevsAsync(string host, CancellationToken cancellation) =>
        GetAsync<MdevListResource>(Mdevs(host), cancellation);

    public Task<ApiReply<MdevResource>> DefineMdevAsync(string host, DefineMdevRequest request, CancellationToken cancellation) =>
        SendAsync<MdevResource>(HttpMethod.Post, Mdevs(host), request, cancellation);

    public Task<ApiReply<MdevResource>> StartMdevAsync(string host, string uuid, CancellationToken cancellation) =>
        SendAsync<MdevResource>(HttpMethod.Post, $"{Mdevs(host)}/{Escape(uuid)}/start", null, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> StopMdevAsync(string host, string uuid, StopMdevRequest request, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Post, $"{Mdevs(host)}/{Escape(uuid)}/stop", request, cancellation, WorkDeadline);

    public Task<ApiReply<OperationResource>> UndefineMdevAsync(string host, string uuid, CancellationToken cancellation) =>
        SendAsync<OperationResource>(HttpMethod.Delete, $"{Mdevs(host)}/{Escape(uuid)}", null, cancellation);

    public Task<ApiReply<ClaimResource>> CreateClaimAsync(CreateClaimRequest request, CancellationToken cancellation) =>
        SendAsync<ClaimResource>(HttpMethod.Post, "api/v1/claims", request, cancellation);

    public Task<ApiReply<ListResource<ClaimResource>>> ClaimsAsync(CancellationToken cancellation) =>
        GetAsync<ListResource<ClaimResource>>("api/v1/claims", cancellation);

    public Task<ApiReply<ClaimResource>> ClaimAsync(string id, CancellationToken cancellation) =>
        GetAsync<ClaimResource>($"api/v1/claims/{Escape(id)}", cancellation);

    public Task<ApiReply<VerificationResource>> VerifyClaimAsync(string id, CancellationToken cancellation) =>
        SendAsync<VerificationResource>(HttpMethod.Post, $"api/v1/claims/{Escape(id)}/verify", null, cancellation, WorkDeadline);

    public Task<ApiReply<ClaimResource>> ReleaseClaimAsync(string id, CancellationToken cancellation) =>
        SendAsync<ClaimResource>(HttpMethod.Delete, $"api/v1/claims/{Escape(id)}", null, cancellation);

    public Task<ApiReply<MigrationResource>> MigrateAsync(
        string claim, StartMigrationRequest request, CancellationToken cancellation) =>
        SendAsync<MigrationResource>(HttpMethod.Post, $"api/v1/claims/{Escape(claim)}/migrations", request, cancellation);

    /// <param name="outcome">As a migration shows it, or <c>open</c>.</param>
    public Task<ApiReply<ListResource<MigrationResource>>> MigrationsAsync(string? claim, DateTimeOffset? since, string? outcome, CancellationToken cancellation)
    {
        string?[] filters =
        [
            claim is null ? null : $"claim={Escape(claim)}",
            since is { } begun ? $"since={Escape(begun.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture))}" : null,
            outcome is null ? null : $"outcome={Escape(outcome)}",
        ];
        var query = string.Join('&', filters.OfType<string>());
        return GetAsync<ListResource<MigrationResource>>(query.Length == 0 ? "api/v1/migrations" : $"api/v1/migrations?{query}", cancellation);
    }

    public Task<ApiReply<MigrationResource>> MigrationAsync(string id, CancellationToken cancellation) =>
        GetAsync<MigrationResource>($"api/v1/migrations/{Escape(id)}", cancellation);

    public Task<ApiReply<MigrationResource>> CancelMigrationAsync(string id, CancellationToken cancellation) =>
        SendAsync<MigrationResource>(HttpMethod.Post, $"api/v1/migrations/{Escape(id)}/cancel", null, cancellation);

    /// <summary>Whether <c>/health/live</c> or <c>/health/ready</c> answers 200 now; a daemon that does not answer is not.</summary>
    public async Task<bool> IsHealthyAsync(string probe, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"health/{probe}");
        try
        {
            using var response = await AskAsync(request, HttpCompletionOption.ResponseHeadersRead, _deadline, cancellation);
            return response.StatusCode == System.Net.HttpStatusCode.OK;
        }
        catch (ApiUnreachable)
        {
            return false;
        }
    }

    /// <summary>The event stream, as it comes, until the daemon ends it; a stream that breaks throws <see cref="IOException"/>.</summary>
    /// <param name="opened">Is called when the daemon has begun to answer.</param>
    public async IAsyncEnumerable<ApiReply<EventResource>> EventsAsync(
        Action? opened,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "api/v1/events");
        request.Headers.Accept.ParseAdd("text/event-stream");
        using var response = await AskAsync(request, HttpCompletionOption.ResponseHeadersRead, _deadline, cancellation);
        if (!response.IsSuccessStatusCode)
            throw await ProblemAsync(response, cancellation);
        opened?.Invoke();
        await using var stream = await response.Content.ReadAsStreamAsync(cancellation);
        await foreach (var sent in EventStream.ReadAsync(stream, cancellation))
            yield return Typed<EventResource>(sent);
    }

    public void Dispose() => _http.Dispose();

    private static string Device(string host, string address) => $"api/v1/devices/{Escape(host)}/{Escape(address)}";

    private static string Mdevs(string host) => $"api/v1/hosts/{Escape(host)}/mdev";

    private static string Escape(string segment) => Uri.EscapeDataString(segment);

    private Task<ApiReply<T>> GetAsync<T>(string path, CancellationToken cancellation) =>
        SendAsync<T>(HttpMethod.Get, path, null, cancellation);

    private async Task<ApiReply<T>> SendAsync<T>(
        HttpMethod method, string path, object? body, CancellationToken cancellation, TimeSpan? limit = null)
    {
        var planned = PlansOnly && method != HttpMethod.Get;
        using var request = new HttpRequestMessage(method, planned ? PlanOf(path) : path);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body, body.GetType(), ApiJson.Options));
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        }

        using var response = await AskAsync(request, HttpCompletionOption.ResponseContentRead, limit ?? _deadline, cancellation);
        if (!response.IsSuccessStatusCode)
            throw await ProblemAsync(response, cancellation);
        var content = await response.Content.ReadAsByteArrayAsync(cancellation);
        return planned ? throw new PlanAnswered(Typed<PlanResource>(content)) : Typed<T>(content);
    }

    private static string PlanOf(string path) =>
        path.EndsWith("?plan=true", StringComparison.Ordinal) ? path : $"{path}{(path.Contains('?', StringComparison.Ordinal) ? '&' : '?')}plan=true";

    private async Task<HttpResponseMessage> AskAsync(
        HttpRequestMessage request, HttpCompletionOption completion, TimeSpan limit, CancellationToken cancellation)
    {
        using var deadline = new CancellationTokenSource(limit, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellation);
        try
        {
            return await _http.SendAsync(request, completion, either.Token);
        }
        catch (OperationCanceledException late) when (deadline.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw new ApiUnreachable(
                $"fabricd at {ServerText} did not answer within {limit.TotalSeconds:0.#} s. It is overloaded or hangs: see its log, "
                + "or try again.",
                ExitCode.Timeout,
                late);
        }
        catch (HttpRequestException) when (cancellation.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellation);
        }
        catch (HttpRequestException refused) when (refused.HttpRequestError is HttpRequestError.ResponseEnded)
        {
            throw new ApiUnreachable(
                $"fabricd at {ServerText} broke off in the middle of its answer. See its log, and try again once it is up.",
                ExitCode.Failed,
                refused);
        }
        catch (HttpRequestException refused)
        {
            throw new ApiUnreachable(
                $"No fabricd answers at {ServerText}: {Cause(refused)}. Start one, or give --server.", ExitCode.Failed, refused);
        }
    }

    private static string Cause(HttpRequestException refused) =>
        (refused.InnerException?.Message ?? refused.Message).TrimEnd('.').ToLowerInvariant();

    private async Task<CommandFailure> ProblemAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        if (response.Content.Headers.ContentType?.MediaType == "application/problem+json")
        {
            var body = await response.Content.ReadAsByteArrayAsync(cancellation);
            return new ApiProblem(Typed<ProblemResource>(body).Value);
        }

        return Stranger($"{(int)response.StatusCode} {response.ReasonPhrase}".TrimEnd(), null);
    }

    private ApiReply<T> Typed<T>(ReadOnlyMemory<byte> body)
    {
        try
        {
            using var document = JsonDocument.Parse(body);
            var value = document.RootElement.Deserialize<T>(ApiJson.Options) ?? throw new JsonException("null");
            return new ApiReply<T>(value, document.RootElement.Clone());
        }
        catch (JsonException malformed)
        {
            throw Stranger("something that is no resource of fabricd", malformed);
        }
    }

    private CommandFailure Stranger(string answer, Exception? inner) =>
        new($"{ServerText} answered {answer}: that is not fabricd, or not its base address. Check --server.", ExitCode.Failed, inner);
}
