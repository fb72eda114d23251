using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Migration.Fleet;

/// <summary>Severities and hanging calls as people write them.</summary>
public static class FaultWords
{
    /// <summary>Null for a word that is no severity.</summary>
    public static AerSeverity? SeverityOf(string? word) => word switch
    {
        "correctable" => AerSeverity.Correctable,
        "non-fatal" => AerSeverity.NonFatal,
        "fatal" => AerSeverity.Fatal,
        _ => null,
    };

    /// <summary>Null for a word that is no kind of call.</summary>
    public static HangPoint? PointOf(string? word) => word switch
    {
        "config" => HangPoint.Config,
        "region" => HangPoint.Region,
        "reset" => HangPoint.Reset,
        "sriov" => HangPoint.Sriov,
        _ => null,
    };
}
