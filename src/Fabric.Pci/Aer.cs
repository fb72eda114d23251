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

/// <summary>The header of the transaction that an error is about, four dwords as the header log has them (PCIe 6.0, 7.8.4.8); all zero where none was logged.</summary>
public readonly record struct AerHeaderLog(uint Dword0, uint Dword1, uint Dword2, uint Dword3)
{
    public override string ToString() => $"{Dword0:x8} {Dword1:x8} {Dword2:x8} {Dword3:x8}";
}

/// <summary>One error as it was reported.</summary>
/// <param name="Source">The function whose error it is: an endpoint, a bridge or a port.</param>
/// <param name="Status">The uncorrectable or correctable error status register at that moment.</param>
public sealed record AerRecord(PciAddress Source, AerSeverity Severity, uint Status, AerHeaderLog HeaderLog = default);
