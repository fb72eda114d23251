namespace Fabric.Migration.DataPlane;

/// <summary>The target's word that it has everything.</summary>
/// <param name="Bytes">Payload bytes the target counted; equal to the source's count.</param>
/// <param name="Hash">The stream's hash as the target computed it; equal to the source's.</param>
/// <param name="Sentence">What the target adds; may be empty.</param>
public sealed record TransferReport(long Bytes, UInt128 Hash, string Sentence);
