using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Tests.Core.Cards;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

public sealed class DmaBufTests
{
    private static readonly DmaBufRange[] Page = [new(0, 0x1000)];

    private readonly CardFunction function = Card.Physical();
    private readonly VfioPciCore core;

    public DmaBufTests() => core = Card.Open(function);

    /// <summary>A request, and what comes of it: each row breaks one rule, and the rules after it as well where that can be.</summary>
    public static TheoryData<int, uint, DmaBufRange[], Errno> Requests() => new()
    {
        { 0, 0, [], Errno.EINVAL },
        { 9, 0, [], Errno.EINVAL },
        { 0, 1, Page, Errno.EINVAL },
        { 6, 0, [new(1, 0)], Errno.ENODEV },
        { -1, 0, Page, Errno.ENODEV },
        { 1, 0, Page, Errno.ENODEV },
        { 0, 0, [new(0, 0)], Errno.EINVAL },
        { 0, 0, [new(0x800, 0x1000)], Errno.EINVAL },
        { 0, 0, [new(0, 0x800)], Errno.EINVAL },
        { 0, 0, [new(0, 0x1000), new(0, ulong.MaxValue - 0xfff)], Errno.EINVAL },
        { 0, 0, [new(0x1000, 0x2000)], Errno.EINVAL },
        { 0, 0, [new(ulong.MaxValue - 0xfff, 0x2000)], Errno.EOVERFLOW },
        { 0, 0, [new(0, 0x2000)], Errno.None },
        { 0, 0, [new(0x1000, 0x1000), new(0, 0x1000)], Errno.None },
    };

    [Theory]
    [MemberData(nameof(Requests))]
    public void What_can_be_exported_is_whole_pages_of_a_claimed_BAR_IO_90(int region, uint flags, DmaBufRange[] ranges, Errno expected) =>
        Assert.Equal(expected, core.GetDmaBuf(region, flags, ranges).Error.Errno);

    [Fact]
    public void A_driver_without_physical_provider_is_EOPNOTSUPP_before_anything_else_IO_90()
    {
        var other = Card.Open(Card.Physical(), new DriverDeclaration("variant") { ProvidesDmaBufs = false });

        Assert.Equal(Errno.EOPNOTSUPP, other.GetDmaBuf(9, 1, []).Error.Errno);
        Assert.Equal(Errno.EOPNOTSUPP, other.FindFeature(CoreFeature.DmaBuf).Error.Errno);
    }

    [Theory]
    [InlineData(true, true, Errno.None)]
    [InlineData(false, true, Errno.EOPNOTSUPP)]
    [InlineData(true, false, Errno.EOPNOTSUPP)]
    public void An_importer_supports_peer_to_peer_and_revocation_IO_91(bool peers, bool revokes, Errno expected) =>
        Assert.Equal(expected, core.GetDmaBuf(0, 0, Page).Value.Attach(new Importer(peers, revokes)).Error.Errno);

    /// <summary>What a driver shows in place of a BAR that the function has not.</summary>
    [Fact]
    public void What_a_driver_shows_is_exported_to_its_own_length_and_reached_while_memory_of_the_function_is_usable_IO_90_INV_1_INV_3()
    {
        var memory = new Shown();
        var shown = core.Map(0).Value.To(memory, 0x3000);

        Assert.Equal(Errno.EINVAL, core.GetDmaBuf(1, 0, [new(0x3000, 0x1000)], shown).Error.Errno);
        Assert.Equal(Errno.ENODEV, core.GetDmaBuf(1, 0, Page).Error.Errno);
        var buffer = core.GetDmaBuf(1, 0, [new(0x2000, 0x1000)], shown).Value;

        Assert.True(buffer.Memory.TryWriteAtOnce(0x2fff, [7]));
        Assert.Equal((7, 0x3000ul), (memory.Bytes[0x2fff], shown.Length));
        Assert.True(shown.Read(0x2fff, new byte[1]).IsOk);
        Assert.Equal(Errno.EFAULT, shown.Write(0x2fff, new byte[2]).Error.Errno);
        core.Write(RegionIndex.Config, ConfigOffset.Command, [0, 0]);
        Assert.Equal((true, Errno.EIO), (buffer.IsRevoked, shown.Read(0, new byte[1]).Error.Errno));
        Assert.False(buffer.Memory.TryReadAtOnce(0, new byte[1]));
        core.Close();
        Assert.Equal((true, Errno.ENODEV), (buffer.IsDetached, shown.Write(0, new byte[1]).Error.Errno));
    }

    private sealed class Shown : IRegisters
    {
        public byte[] Bytes { get; } = new byte[0x3000];

        public VfioResult Read(ulong offset, Span<byte> destination)
        {
            Bytes.AsSpan((int)offset, destination.Length).CopyTo(destination);
            return VfioResult.Ok;
        }

        public VfioResult Write(ulong offset, ReadOnlySpan<byte> source)
        {
            source.CopyTo(Bytes.AsSpan((int)offset));
            return VfioResult.Ok;
        }
    }

    [Fact]
    public void Attaching_and_mapping_while_revoked_are_ENODEV_IO_91()
    {
        var buffer = core.GetDmaBuf(0, 0, Page).Value;
        var attached = buffer.Attach(new Importer()).Value;
        core.WriteCommand(PciCommand.None);

        Assert.Equal(Errno.ENODEV, attached.Map().Error.Errno);
        Assert.Equal(Errno.ENODEV, buffer.Attach(new Importer()).Error.Errno);
    }

    [Fact]
    public void A_buffer_made_with_decode_off_is_born_revoked_IO_91()
    {
        core.WriteCommand(PciCommand.None);
        var buffer = core.GetDmaBuf(0, 0, Page).Value;
        Assert.True(buffer.IsRevoked);
        core.Healthy();

        core.WriteCommand(PciCommand.MemorySpace);

        Assert.False(buffer.IsRevoked);
    }

    [Fact]
    public void Revoking_tells_the_importer_before_decode_goes_off_and_its_mapping_is_gone_IO_91_CF_10()
    {
        var importer = new Importer();
        var attached = core.GetDmaBuf(0, 0, Page).Value.Attach(importer).Value;
        Assert.Equal(Page, attached.Map().Value);
        var decoded = false;
        importer.OnRevoked = () => decoded = function.Has(PciCommand.MemorySpace);

        core.WriteCommand(PciCommand.None);

        Assert.True(decoded);
        Assert.False(attached.IsMapped);
        Assert.Equal(1, importer.Revocations);
        core.WriteCommand(PciCommand.MemorySpace);
        Assert.True(attached.Map().IsOk);
    }

    [Fact]
    public void An_importer_may_detach_in_its_revocation_IO_91()
    {
        var importer = new Importer();
        var buffer = core.GetDmaBuf(0, 0, Page).Value;
        var attached = buffer.Attach(importer).Value;
        buffer.Attach(new Importer());
        importer.OnRevoked = attached.Detach;

        core.WriteCommand(PciCommand.None);
        core.WriteCommand(PciCommand.MemorySpace);
        core.WriteCommand(PciCommand.None);

        Assert.Equal(1, importer.Revocations);
    }

    [Fact]
    public void Closing_is_final_and_a_new_session_does_not_bring_a_buffer_back_IO_91_LC_30()
    {
        var attached = core.GetDmaBuf(0, 0, Page).Value.Attach(new Importer()).Value;
        core.Close();
        core.Open();
        core.WriteCommand(PciCommand.None);
        core.WriteCommand(PciCommand.MemorySpace);

        Assert.Equal(Errno.ENODEV, attached.Map().Error.Errno);
    }

    [Fact]
    public void Each_buffer_holds_a_reference_until_the_last_close_IO_92()
    {
        core.GetDmaBuf(0, 0, Page);
        core.GetDmaBuf(0, 0, Page);
        Assert.Equal(3, core.References);

        core.Close();

        Assert.Equal(0, core.References);
    }

    private sealed class Importer(bool peers = true, bool revokes = true) : IDmaBufImporter
    {
        public Action OnRevoked { get; set; } = () => { };

        public int Revocations { get; private set; }

        public bool SupportsPeerToPeer => peers;

        public bool SupportsRevocation => revokes;

        public void Revoked()
        {
            Revocations++;
            OnRevoked();
        }
    }
}
