using Fabric.Vfio;

namespace Fabric.Migration.Hosts;

/// <summary>One end of a migration cannot go on; the sentence goes to the claim, which rolls back.</summary>
public sealed class MigrationBrokenException : Exception
{
    public MigrationBrokenException(string message)
        : base(message)
    {
    }

    public MigrationBrokenException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    public MigrationBrokenException()
    {
    }

    internal static void ThrowUnless(VfioResult result, string what)
    {
        if (!result.IsOk)
            throw new MigrationBrokenException($"{what}: {result.Error}");
    }

    internal static T ValueOf<T>(VfioResult<T> result, string what) =>
        result.IsOk ? result.Value : throw new MigrationBrokenException($"{what}: {result.Error}");
}
