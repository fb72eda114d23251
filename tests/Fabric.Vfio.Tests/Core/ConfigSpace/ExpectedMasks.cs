using System.Globalization;

namespace Fabric.Vfio.Tests.Core.ConfigSpace;

/// <summary>
/// The tables of contract §3.2, §3.5 and §3.6 written down once more, by hand: capability, offset, width, virtual bits, writable bits.
/// </summary>
internal static class ExpectedMasks
{
    private const string Table = """
        header      00 2 ffff     0000
        header      02 2 ffff     0000
        header      04 2 0400     ffff
        header      06 2 0010     0000
        header      0c 1 00       ff
        header      0d 1 00       ff
        header      0f 1 00       ff
        header      10 4 ffffffff 00000000
        header      14 4 ffffffff 00000000
        header      18 4 ffffffff 00000000
        header      1c 4 ffffffff 00000000
        header      20 4 ffffffff 00000000
        header      24 4 ffffffff 00000000
        header      30 4 ffffffff 00000000
        header      34 1 ff       00
        header      3c 1 ff       ff
        header      3d 1 ff       00
        PM          02 2 f800     0000
        PM          04 2 8100     7efc
        VPD         02 2 ffff     ffff
        VPD         04 4 ffffffff ffffffff
        MSI32       02 1 ff       71
        MSI32       04 4 ffffffff ffffffff
        MSI32       08 2 ffff     ffff
        MSI64       02 1 ff       71
        MSI64       04 4 ffffffff ffffffff
        MSI64       08 4 ffffffff ffffffff
        MSI64       0c 2 ffff     ffff
        MSI32M      02 1 ff       71
        MSI32M      04 4 ffffffff ffffffff
        MSI32M      08 2 ffff     ffff
        MSI32M      0c 4 00000000 ffffffff
        MSI32M      10 4 00000000 ffffffff
        MSI64M      02 1 ff       71
        MSI64M      04 4 ffffffff ffffffff
        MSI64M      08 4 ffffffff ffffffff
        MSI64M      0c 2 ffff     ffff
        MSI64M      10 4 00000000 ffffffff
        MSI64M      14 4 00000000 ffffffff
        PCIX        02 2 0000     ffff
        PCIX2       02 2 0000     ffff
        PCIX2       08 4 00000000 ffffffff
        VNDR        02 2 0000     ffff
        VNDR        04 4 00000000 ffffffff
        VNDR        08 4 00000000 ffffffff
        EXP1RC      08 2 f0e0     fdff
        EXP1        08 2 f0e0     fdff
        EXP2RC      08 2 f0e0     fdff
        EXP2RC      28 2 0000     ffdf
        EXP2        08 2 f0e0     fdff
        EXP2        28 2 0000     ffdf
        AF          04 1 01       01
        AER         04 4 00000000 03fff031
        AER         08 4 00000000 03fff031
        AER         0c 4 00000000 03fff031
        AER         10 4 00000000 0000f1c1
        AER         14 4 00000000 0000f1c1
        AER         18 4 00000000 00000140
        PWR         04 1 00       ff
        VSEC        04 4 00000000 ffffffff
        VSEC        08 4 00000000 ffffffff
        DVSEC       04 4 00000000 ffffffff
        DVSEC       08 4 00000000 ffffffff
        """;

    private static readonly ILookup<string, (int Offset, int Width, uint Virtual, uint Writable)> Rows = Table
        .Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .ToLookup(cells => cells[0], cells => ((int)Hex(cells[1]), (int)Hex(cells[2]), Hex(cells[3]), Hex(cells[4])));

    /// <summary>Virtual and writable bits of each byte of a capability; what the table does not name is hardware's, read-only.</summary>
    /// <param name="linkStart">First of its bytes that link the chain and are virtual, read-only.</param>
    public static (byte[] Virtual, byte[] Writable) Of(string name, int length, int linkStart, int linkLength)
    {
        var (isVirtual, writable) = (new byte[length], new byte[length]);
        foreach (var row in Rows[name])
        {
            for (var i = 0; i < row.Width; i++)
            {
                isVirtual[row.Offset + i] = (byte)(row.Virtual >> (8 * i));
                writable[row.Offset + i] = (byte)(row.Writable >> (8 * i));
            }
        }

        isVirtual.AsSpan(linkStart, linkLength).Fill(0xff);
        return (isVirtual, writable);
    }

    private static uint Hex(string text) => uint.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
