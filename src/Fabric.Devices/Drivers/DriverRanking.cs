using System.Collections.Immutable;
using Fabric.Vfio.Core;

namespace Fabric.Devices.Drivers;

/// <param name="Id">What it matches by; null where driver_override or its bus alone brings it here, which matches always.</param>
internal sealed record DriverCandidate(DriverRegistration Driver, DriverId? Id);

/// <summary>The drivers for a function, before any of them was asked: the best first.</summary>
/// <param name="Override">The function's driver_override.</param>
/// <param name="OnlyByOverride">Those that would match if driver_override named them.</param>
internal sealed record DriverRanking(
    string? Override, ImmutableArray<DriverCandidate> Candidates, ImmutableArray<DriverPassedOver> OnlyByOverride)
{
    /// <summary>What is left when no driver takes it: the core alone, but where driver_override names another.</summary>
    public bool EndsWithCore => Override is null || Override == DriverDeclaration.VfioPci.Name;

    /// <summary>Null for the core alone, and where there is none.</summary>
    /// <param name="refused">Those that have refused the function.</param>
    public DriverCandidate? Best(IReadOnlyCollection<DriverPassedOver> refused) =>
        Candidates.FirstOrDefault(candidate => refused.All(refusal => refusal.Driver != candidate.Driver.Name));

    public DriverChoice Explain(DriverCandidate? taken, IReadOnlyCollection<DriverPassedOver> refused)
    {
        if (Override is null && Candidates.IsEmpty && OnlyByOverride.IsEmpty)
            return DriverChoice.CoreAlone;
        var others = Candidates.Where(candidate => candidate != taken).Select(candidate =>
            refused.FirstOrDefault(refusal => refusal.Driver == candidate.Driver.Name) ??
            new DriverPassedOver(candidate.Driver.Name, WhyNot(candidate, taken), Refused: false));
        return new DriverChoice(Override, Why(taken, refused), [.. others, .. OnlyByOverride]) { StateFormat = taken?.Driver.StackStateFormat };
    }

    private string Why(DriverCandidate? taken, IReadOnlyCollection<DriverPassedOver> refused) => (Override, taken) switch
    {
        (null, null) => Candidates.IsEmpty ? "no driver takes it by itself" : "every driver that matches it refused it",
        (null, { Id: null }) => "its bus asks for it",
        (null, { Id: var id }) => Candidates.Length - refused.Count == 1 ? $"it matches {id}" : $"it matches {id}, better than others",
        ({ } name, { }) => $"driver_override names {name}",
        ({ } name, null) when EndsWithCore => $"driver_override names {name}",
        ({ } name, null) => refused.FirstOrDefault(refusal => refusal.Driver == name) is { } refusal
            ? $"driver_override names {name}, which refused it: {refusal.Reason}"
            : $"driver_override names {name}, which this host does not have",
    };

    /// <summary>One that comes before what the function has, and has not refused it, was not there when it was probed.</summary>
    private string WhyNot(DriverCandidate candidate, DriverCandidate? taken)
    {
        if (taken is null || Candidates.IndexOf(candidate) < Candidates.IndexOf(taken))
            return "it came while the device was held, and is asked at the next probe";
        if (taken.Id is null)
            return $"the function's bus asks for {taken.Driver.Name}";
        var (id, better) = (candidate.Id!.Value, taken.Id!.Value);
        if (id.Specificity < better.Specificity)
            return $"its {id} is less specific than {better}";
        return candidate.Driver.Priority < taken.Driver.Priority
            ? $"its {id} is as specific, but its priority {candidate.Driver.Priority} is below {taken.Driver.Priority}"
            : $"its {id} is as specific and its priority the same, but {taken.Driver.Name} comes first by name";
    }
}
