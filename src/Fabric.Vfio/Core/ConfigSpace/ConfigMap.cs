using System.Collections.Immutable;
using Fabric.Pci;

namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>
/// What each byte of config space is (CF-1): whose it is, which of its bits are in the shadow and which the user may write, and how large
/// a chunk may start there (CF-2). Laid once at open, so that an access is look-ups alone.
/// </summary>
internal sealed class ConfigMap
{
    /// <summary>Owner of the bytes between capabilities: raw hardware, for reads and writes (CF-3).</summary>
    private const ushort Gap = 0;

    private const ushort HeaderOwner = 1;

    /// <summary>Owner of an extended space that is not exposed: it reads 0 (CF-53).</summary>
    private const ushort Absent = 2;

    /// <summary>Owner of bytes that a driver has made its own.</summary>
    private const ushort Driver = 3;

    private const ushort FirstCapability = 4;

    private readonly byte[] virtualBits;
    private readonly byte[] writable;
    private readonly byte[] clearedByOne;
    private readonly byte[] chunk;
    private readonly ushort[] owner;

    public ConfigMap(IPciFunction function, ReadOnlySpan<byte> raw)
    {
        virtualBits = new byte[raw.Length];
        writable = new byte[raw.Length];
        clearedByOne = new byte[raw.Length];
        chunk = new byte[raw.Length];
        owner = new ushort[raw.Length];

        BaseAddresses = ConfigSpace.BaseAddresses.Of(function);
        Standard = VisibleCapabilities.Standard(raw);
        HasExtendedSpace = VisibleCapabilities.HasExtendedSpace(raw);
        Extended = HasExtendedSpace ? VisibleCapabilities.Extended(raw) : [];

        Array.Fill(writable, (byte)0xff);
        LayHeader(function);
        if (!HasExtendedSpace && raw.Length > ConfigOffset.ConventionalSize)
            Own(ConfigOffset.ConventionalSize, raw.Length - ConfigOffset.ConventionalSize, Absent, virtualBits: 0xff, writable: 0);
        var number = FirstCapability;
        foreach (var capability in Standard)
            LayCapability(capability, number++, new("next pointer", 1, 1, Virtual: uint.MaxValue));
        foreach (var capability in Extended)
            LayCapability(capability, number++, new("header", 0, 4, Virtual: uint.MaxValue));
        LayChunks();
    }

    public int Size => owner.Length;

    public bool HasExtendedSpace { get; }

    /// <summary>Rows of BARs 0 to 5, less the upper halves' own, and of the ROM BAR.</summary>
    public ImmutableArray<BaseAddresses.Row> BaseAddresses { get; }

    /// <summary>In chain order.</summary>
    public ImmutableArray<PlacedCapability> Standard { get; }

    /// <summary>In chain order; the first may be a placeholder (CF-52).</summary>
    public ImmutableArray<PlacedCapability> Extended { get; }

    /// <summary>Bytes, 1, 2 or 4, that an access of this many starts with at an offset (CF-2).</summary>
    public int ChunkAt(int at, int remaining) => Math.Min(chunk[at], remaining >= 4 ? 4 : remaining >= 2 ? 2 : 1);

    public uint Virtual(int at, int length) => LittleEndian.Load(virtualBits.AsSpan(at, length));

    public uint Writable(int at, int length) => LittleEndian.Load(writable.AsSpan(at, length));

    public uint ClearedByOne(int at, int length) => LittleEndian.Load(clearedByOne.AsSpan(at, length));

    public bool IsHeader(int at) => owner[at] == HeaderOwner;

    /// <summary>Which of <see cref="Standard"/> followed by <see cref="Extended"/> a byte belongs to; negative for none.</summary>
    public int CapabilityAt(int at) => owner[at] - FirstCapability;

    /// <summary>Gives a range to the driver in front of the core: from now on it lives in the shadow alone (CF-1).</summary>
    public void LayDriverBytes(int offset, int length)
    {
        Own(offset, length, Driver, virtualBits: 0xff, writable: 0xff);
        LayChunks();
    }

    private void LayHeader(IPciFunction function)
    {
        Own(0, ConfigOffset.HeaderSize, HeaderOwner, virtualBits: 0, writable: 0);
        foreach (var register in ConfigRules.Header.Registers)
            Lay(register, 0);
        foreach (var row in BaseAddresses)
            Lay(row.Register, 0);
        if (function.HasNoMemoryEnable())
            virtualBits[ConfigOffset.Command] |= (byte)PciCommand.MemorySpace;           // CF-13
    }

    private void LayCapability(in PlacedCapability capability, ushort number, ConfigRegister link)
    {
        Own(capability.Offset, capability.Length, number, virtualBits: 0, writable: capability.Rules.RawBody ? (byte)0xff : (byte)0);
        foreach (var register in capability.Rules.Registers)
        {
            if (register.Offset + register.Width <= capability.Length)
                Lay(register, capability.Offset);
        }

        if (capability.Rules.RawBody)
            writable[capability.Offset] = 0;                                             // its id
        Lay(link, capability.Offset);
    }

    private void Own(int offset, int length, ushort who, byte virtualBits, byte writable)
    {
        owner.AsSpan(offset, length).Fill(who);
        this.virtualBits.AsSpan(offset, length).Fill(virtualBits);
        this.writable.AsSpan(offset, length).Fill(writable);
        clearedByOne.AsSpan(offset, length).Clear();
    }

    private void Lay(in ConfigRegister register, int start)
    {
        var at = start + register.Offset;
        LittleEndian.Store(virtualBits.AsSpan(at, register.Width), register.Virtual);
        LittleEndian.Store(writable.AsSpan(at, register.Width), register.Writable);
        LittleEndian.Store(clearedByOne.AsSpan(at, register.Width), register.ClearedByOne);
    }

    private void LayChunks()
    {
        for (var at = 0; at < chunk.Length; at += 4)
        {
            for (var i = 0; i < 4; i++)
            {
                var length = i switch { 0 => 4, 2 => 2, _ => 1 };
                while (owner.AsSpan(at + i, length).ContainsAnyExcept(owner[at + i]))
                    length /= 2;
                chunk[at + i] = (byte)length;
            }
        }
    }
}
