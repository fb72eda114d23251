using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.Interrupts;

public sealed class InterruptInfoTests
{
    private const IrqFlags Fixed = IrqFlags.Eventfd | IrqFlags.NoResize;

    [Theory]
    [InlineData(IrqIndex.Intx, IrqFlags.Eventfd | IrqFlags.Maskable | IrqFlags.AutoMasked, 1)]
    [InlineData(IrqIndex.Msi, Fixed, 4)]
    [InlineData(IrqIndex.Msix, Fixed, 2048)]
    [InlineData(IrqIndex.Err, Fixed, 1)]
    [InlineData(IrqIndex.Req, Fixed, 1)]
    public void Each_index_has_its_count_and_flags_IO_30(IrqIndex index, IrqFlags flags, int count) =>
        Assert.Equal(new IrqInfo(index, flags, count), new InterruptingFunction().Open(msi: 4, msix: 2048).GetInfo((int)index).Value);

    [Theory]
    [InlineData(IrqIndex.Intx, IrqFlags.Eventfd | IrqFlags.Maskable | IrqFlags.AutoMasked)]
    [InlineData(IrqIndex.Msi, Fixed)]
    [InlineData(IrqIndex.Msix, Fixed)]
    public void What_the_device_has_not_counts_0_IO_30(IrqIndex index, IrqFlags flags)
    {
        var interrupts = new InterruptingFunction { CanGrowMsix = true }.Open(pin: false, msi: 0, msix: 0);

        Assert.Equal(new IrqInfo(index, flags, 0), interrupts.GetInfo((int)index).Value);
    }

    [Fact]
    public void MSI_X_that_can_grow_is_not_NORESIZE_IO_30_IO_44() =>
        Assert.Equal(IrqFlags.Eventfd, new InterruptingFunction { CanGrowMsix = true }.Open().GetInfo((int)IrqIndex.Msix).Value.Flags);

    [Theory]
    [InlineData(-1)]
    [InlineData(5)]
    [InlineData(int.MinValue)]
    [InlineData(int.MaxValue)]
    public void There_is_no_other_index_IO_30(int index) =>
        Assert.Equal(Errno.EINVAL, new InterruptingFunction().Open().GetInfo(index).Error.Errno);
}
