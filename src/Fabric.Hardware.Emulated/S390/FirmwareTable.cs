using System.Collections.Frozen;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.S390;

/// <summary>What firmware tells of a function, as a table.</summary>
internal sealed class FirmwareTable(FrozenDictionary<string, ulong> numbers, FrozenDictionary<string, byte[]> strings) : IFunctionPlatform
{
    public bool TryGetProperty(string name, out ulong value) => numbers.TryGetValue(name, out value);

    public ReadOnlyMemory<byte> GetProperty(string name) => strings.GetValueOrDefault(name);
}
