using System.Buffers.Binary;
using System.Collections.Immutable;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Hardware.Emulated.Config;

/// <summary>
/// Config space of one kind of function: what it holds at power-on, what a write does to each of its bits, and where its capabilities are.
/// Immutable, and shared by every function of the kind.
/// </summary>
internal sealed class ConfigLayout
{
    private const int Alignment = 4;

    private readonly byte[] powerOn;
    private readonly byte[] writable;
    private readonly byte[] clearedByOne;
    private readonly byte[] sticky;

    private ConfigLayout(int size)
    {
        powerOn = new byte[size];
        writable = new byte[size];
        clearedByOne = new byte[size];
        sticky = new byte[size];
    }

    /// <summary>Bytes: 4096 with extended capabilities or PCI Express, else 256.</summary>
    public int Size => powerOn.Length;

    public ReadOnlySpan<byte> PowerOn => powerOn;

    /// <summary>Offset of each capability; 0 where there is none.</summary>
    public int PowerManagement { get; private set; }

    public int Express { get; private set; }

    public int AdvancedFeatures { get; private set; }

    public int Vpd { get; private set; }

    public int Aer { get; private set; }

    public int Sriov { get; private set; }

    public MsiCapability? Msi { get; private set; }

    public MsixCapability? Msix { get; private set; }

    /// <summary>Whether it has an interrupt pin.</summary>
    public bool HasPin => powerOn[ConfigOffset.InterruptPin] != 0;

    /// <summary>Whether the bit of COMMAND that keeps its line quiet is there.</summary>
    public bool HasInterruptDisable => (writable[ConfigOffset.Command + 1] & ((int)PciCommand.InterruptDisable >> 8)) != 0;

    /// <summary>
    /// Lays the capabilities one after the other, in the order in which they are given: the standard chain from 0x40, the extended one from
    /// 0x100.
    /// </summary>
    public static ConfigLayout Of(IEnumerable<RegisterRow> header, params ImmutableArray<CapabilityLayout> capabilities)
    {
        var isExpress = capabilities.Any(static capability => capability.IsExtended || capability.Id == (ushort)StandardCapability.PciExpress);
        var layout = new ConfigLayout(isExpress ? ConfigOffset.ExtendedSize : ConfigOffset.ConventionalSize);
        layout.Lay(header, 0);
        layout.LayStandard([.. capabilities.Where(static capability => !capability.IsExtended)]);
        layout.LayExtended([.. capabilities.Where(static capability => capability.IsExtended)]);
        layout.FindCapabilities();
        return layout;
    }

    /// <summary>What a register's byte holds after a write.</summary>
    public byte Write(int at, byte before, byte written) =>
        (byte)(((before & ~writable[at]) | (written & writable[at])) & ~(written & clearedByOne[at]));

    /// <summary>What a byte holds after a reset: as at power-on, but for its sticky bits.</summary>
    public byte Reset(int at, byte before) => (byte)((powerOn[at] & ~sticky[at]) | (before & sticky[at]));

    private void LayStandard(ReadOnlySpan<CapabilityLayout> chain)
    {
        var at = ConfigOffset.HeaderSize;
        var link = ConfigOffset.CapabilitiesPointer;
        foreach (var capability in chain)
        {
            if (at + capability.Length > ConfigOffset.ConventionalSize)
                throw new ArgumentException("The standard capabilities do not fit below 0x100.");
            powerOn[link] = (byte)at;
            powerOn[at] = (byte)capability.Id;
            Lay(capability.Rows, at);
            link = at + 1;
            at += Align(capability.Length);
        }

        if (!chain.IsEmpty)
            powerOn[ConfigOffset.Status] |= (byte)PciStatus.CapabilitiesList;
    }

    private void LayExtended(ReadOnlySpan<CapabilityLayout> chain)
    {
        var at = ConfigOffset.ConventionalSize;
        for (var i = 0; i < chain.Length; i++)
        {
            var next = i == chain.Length - 1 ? 0 : at + Align(chain[i].Length);
            BinaryPrimitives.WriteUInt32LittleEndian(
                powerOn.AsSpan(at), chain[i].Id | ((uint)chain[i].Version << 16) | ((uint)next << 20));
            Lay(chain[i].Rows, at);
            at += Align(chain[i].Length);
        }
    }

    private void Lay(IEnumerable<RegisterRow> rows, int start)
    {
        foreach (var row in rows)
        {
            for (var i = 0; i < row.Width; i++)
            {
                var (at, shift) = (start + row.Offset + i, 8 * i);
                powerOn[at] |= (byte)(row.Value >> shift);
                writable[at] |= (byte)(row.Writable >> shift);
                clearedByOne[at] |= (byte)(row.ClearedByOne >> shift);
                sticky[at] |= (byte)(row.Sticky >> shift);
            }
        }
    }

    private void FindCapabilities()
    {
        foreach (var (id, offset) in CapabilityWalk.Standard(powerOn))
        {
            switch (id)
            {
                case StandardCapability.PowerManagement:
                    PowerManagement = offset;
                    break;
                case StandardCapability.PciExpress:
                    Express = offset;
                    break;
                case StandardCapability.AdvancedFeatures:
                    AdvancedFeatures = offset;
                    break;
                case StandardCapability.VitalProductData:
                    Vpd = offset;
                    break;
                case StandardCapability.Msi:
                    Msi = MsiCapability.Parse(powerOn, offset);
                    break;
                case StandardCapability.Msix:
                    Msix = MsixCapability.Parse(powerOn, offset);
                    break;
            }
        }

        if (Size == ConfigOffset.ConventionalSize)
            return;
        foreach (var (id, _, offset) in CapabilityWalk.Extended(powerOn))
        {
            if (id == ExtendedCapability.Aer)
                Aer = offset;
            else if (id == ExtendedCapability.Sriov)
                Sriov = offset;
        }
    }

    private static int Align(int length) => (length + Alignment - 1) & ~(Alignment - 1);
}
