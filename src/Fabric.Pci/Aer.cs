namespace Fabric.Pci;

/// <summary>How bad an error is, as Advanced Error Reporting ranks it (PCIe 6.0, 6.2.2).</summary>
public enum AerSeverity
{
    /// <summary>Hardware has put it right; counted only.</summary>
    Correctable,

    /// <summary>A transaction is lost, the link works.</summary>
    NonFatal,

    /// <summary>The link is no longer to be trusted.</summary>
    Fatal,
}

/// <summary>One error that a function reported.</summary>
/// <param name="Source">The function whose error it is.</param>
/// <param name="Status">The uncorrectable or correctable error status register at that moment.</param>
public sealed record AerRecord(PciAddress Source, AerSeverity Severity, uint Status);
