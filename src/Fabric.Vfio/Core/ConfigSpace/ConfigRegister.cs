using System.Collections.Immutable;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// One row of the permission tables (CF-1). Bits that are neither virtual nor writable are read from hardware and cannot be changed.
/// </summary>
/// <param name="Offset">Bytes from the start of the header or capability.</param>
/// <param name="Width">Bytes: 1, 2 or 4.</param>
/// <param name="Virtual">Bits that live in the shadow copy.</param>
/// <param name="Writable">Bits that the user may write: in the shadow where they are virtual, else in hardware.</param>
/// <param name="ClearedByOne">Bits beside writable ones that hardware clears when it is written a one: they are written as zero.</param>
internal readonly record struct ConfigRegister(string Name, int Offset, int Width, uint Virtual = 0, uint Writable = 0, uint ClearedByOne = 0);

/// <summary>What a write to a capability does beyond the permission bits; most do nothing.</summary>
internal enum WriteAction
{
    None,
    PowerManagement,
    VitalProductData,
    Msi,
    PciExpress,
    AdvancedFeatures,
}

/// <summary>The rules of the header or of one kind of capability.</summary>
/// <param name="RawBody">Whatever no row names is read from and written to hardware as it is (CF-36, CF-51).</param>
/// <param name="ActionBytes">Bytes that its action needs: a capability that another one cuts short of them has no action.</param>
internal sealed record CapabilityRules(
    string Name, ImmutableArray<ConfigRegister> Registers, bool RawBody = false, WriteAction Action = WriteAction.None, int ActionBytes = 0);
