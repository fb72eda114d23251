using Fabric.Pci;

namespace Fabric.Devices.Recovery;

/// <summary>Errors of one device since the fold was last emptied.</summary>
/// <param name="Worst">The last of the worst severity.</param>
internal readonly record struct FoldedErrors(AerRecord Worst, long Correctable, long Uncorrectable);

/// <summary>
/// Where hardware's threads leave the errors that they report, however many a second: counted per device, with one message in the host's mailbox
/// at a time for each, and one more when the first uncorrectable error joins correctable ones. Thread-safe.
/// </summary>
internal sealed class ErrorFold(Action<PciAddress> arrived)
{
    private readonly Lock gate = new();
    private readonly Dictionary<PciAddress, FoldedErrors> folded = [];

    /// <summary>From any thread.</summary>
    public void Add(AerRecord record)
    {
        bool news;
        var correctable = record.Severity == AerSeverity.Correctable ? 1 : 0;
        lock (gate)
        {
            var first = !folded.TryGetValue(record.Source, out var before);
            news = first || (before.Uncorrectable == 0 && correctable == 0);
            folded[record.Source] = first
                ? new FoldedErrors(record, correctable, 1 - correctable)
                : new FoldedErrors(
                    record.Severity >= before.Worst.Severity ? record : before.Worst, before.Correctable + correctable, before.Uncorrectable + 1 - correctable);
        }

        if (news)
            arrived(record.Source);
    }

    /// <summary>Whether an uncorrectable error is in the fold of a device.</summary>
    public bool HasUncorrectable(PciAddress source)
    {
        lock (gate)
            return folded.TryGetValue(source, out var errors) && errors.Uncorrectable > 0;
    }

    /// <summary>Empties the fold of a device; null where there is nothing in it.</summary>
    public FoldedErrors? Take(PciAddress source)
    {
        lock (gate)
            return folded.Remove(source, out var errors) ? errors : null;
    }
}
