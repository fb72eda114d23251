using System.Text.Json;
using System.Text.Json.Serialization;

namespace Fabric.Migration.Hosts.Runs;

/// <summary>What happened to a function, or to a claim. The words of a record.</summary>
public enum RunEvent
{
    /// <summary>A consumer begins anew on a function: its steps are counted from the one given.</summary>
    Afresh,

    /// <summary>It makes steps from now on, beginning with the one given.</summary>
    Started,

    /// <summary>It makes no more steps; the one given would have been the next.</summary>
    Stopped,

    /// <summary>The function was closed, or died, and what it had is gone.</summary>
    Lost,

    /// <summary>The state was read from the function.</summary>
    Saved,

    /// <summary>The function took on a state.</summary>
    Loaded,

    /// <summary>The claim has it in its journal that of all that have its state only this function may run: a commit, or a rollback.</summary>
    Decided,

    /// <summary>The claim has it in its journal that it runs.</summary>
    Acknowledged,

    /// <summary>Something was broken on purpose, or mended: from the last of these on a claim has its time to come to rest.</summary>
    Fault,

    /// <summary>The claim is at rest: it runs, has stopped, or was released.</summary>
    Rest,
}

/// <summary>How a claim came to rest.</summary>
public enum RestKind
{
    Runs,
    Stopped,
    Released,
}

/// <summary>
/// One thing that happened, whether in the simulation or told by real processes: a line of JSON. Which fields say something depends on <see cref="What"/>.
/// </summary>
/// <param name="At">Microseconds, by the clock of whoever tells it.</param>
/// <param name="Step">Of the device: the next that it makes.</param>
/// <param name="Hash">Of the whole state at that step.</param>
public sealed record RunRecord(
    long At, RunEvent What, string Claim = "", string Host = "", string Function = "", long Generation = 0, long Step = 0, string? Hash = null)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault,
        Converters = { new JsonStringEnumConverter() },
    };

    public RestKind Rest { get; init; }

    public string? Reason { get; init; }

    public string ToLine() => JsonSerializer.Serialize(this, Json);

    public static RunRecord Parse(string line) => JsonSerializer.Deserialize<RunRecord>(line, Json)
        ?? throw new FormatException("A record is a line of JSON, and not null.");
}
