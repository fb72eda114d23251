using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Fabric.Migration.Claims;

/// <summary>What a migration stands on before it begins. Two plans with the same facts are the same, and have the same id.</summary>
/// <param name="Facts">What was found, each by the name that people know it by.</param>
/// <param name="Target">The host that it leads to.</param>
internal sealed record MigrationPlan(ImmutableArray<(string Name, string Value)> Facts, string Target)
{
    /// <summary>16 hexadecimal digits of a digest of the facts.</summary>
    public string Id { get; } = DigestOf(string.Join('\n', Facts.Select(static fact => $"{fact.Name}: {fact.Value}")));

    /// <summary>What is otherwise now.</summary>
    public string ChangedIn(MigrationPlan now) => string.Join("; ", Facts.Zip(now.Facts)
        .Where(static pair => pair.First.Value != pair.Second.Value)
        .Select(static pair => $"its {pair.First.Name} was {pair.First.Value}, and is {pair.Second.Value}"));

    private static string DigestOf(string facts) =>
        Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(facts)).AsSpan(0, 8)).ToLower(CultureInfo.InvariantCulture);
}

/// <summary>The plans that a claim gave out lately; it remembers them for as long as it lives on its node.</summary>
internal sealed class GivenPlans
{
    private const int Kept = 16;

    private readonly Queue<MigrationPlan> plans = [];

    public void Keep(MigrationPlan plan)
    {
        if (Find(plan.Id) is not null)
            return;
        plans.Enqueue(plan);
        if (plans.Count > Kept)
            plans.Dequeue();
    }

    public MigrationPlan? Find(string id) => plans.FirstOrDefault(plan => plan.Id == id);
}
