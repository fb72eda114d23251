using CsCheck;
using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core;

/// <summary>Whatever a holder does in whatever order, with whatever numbers: it gets a result or an errno, and a closed device is quiet.</summary>
public sealed class RandomWalkTests
{
    private static readonly Gen<int> AnyRegion = Gen.OneOf(Gen.Int[-1, 10], Gen.Int);

    private static readonly Gen<ulong> AnyOffset = Gen.OneOf(
        Gen.ULong[0, 64],
        Gen.ULong[0xf0, 0x110],
        Gen.ULong[0xff0, 0x1010],
        Gen.ULong[(1UL << 33) - 16, (1UL << 33) + 16],
        Gen.ULong[ulong.MaxValue - 16, ulong.MaxValue],
        Gen.ULong);

    private static readonly Gen<int> AnyLength = Gen.OneOf(Gen.Int[0, 16], Gen.Int[0, 5000]);

    private static readonly Gen<Step> AnyStep = Gen.Select(
        Gen.Int[0, 12], AnyRegion, AnyOffset, AnyLength, Gen.Int[0, 9], (kind, region, offset, length, fault) => new Step(kind, region, offset, length, fault));

    private readonly record struct Step(int Kind, int Region, ulong Offset, int Length, int Fault);

    [Fact]
    public void Every_walk_gets_a_result_or_an_errno_for_each_step_INV_1_INV_2_INV_3() =>
        Gen.Select(Gen.Bool, AnyStep.Array[1, 80]).Sample(Walk, iter: FuzzRun.Times(2000));

    private static void Walk(bool isVirtual, Step[] walk)
    {
        var function = new FakeFunction(isVirtual);
        var core = OpenDevice.Closed(function);
        foreach (var step in walk)
        {
            function.OnReset = () => step.Fault switch
            {
                0 => VfioResult.Fail(Errno.EAGAIN, "Somebody else is resetting."),
                1 => VfioResult.Fail(Errno.EIO, "The reset did not work."),
                _ => VfioResult.Ok,
            };
            function.OnBarAccess = () => step.Fault == 2 ? VfioResult.Fail(Errno.EIO, "It does not answer.") : VfioResult.Ok;
            var wasOpen = core.IsOpen;

            var errno = Take(core, step);

            Assert.True(Enum.IsDefined(errno));
            if (!wasOpen && step.Kind > 1)
                Assert.Equal(Errno.EINVAL, errno);
            Assert.Equal(core.IsOpen, function.Dma is not null);
            if (!core.IsOpen)
                Assert.True(core.DmaMappings == 0 && !function.Has(PciCommand.BusMaster));      // INV-3
            Assert.Empty(core.CheckInvariants());
        }
    }

    private static Errno Take(VfioPciCore core, Step step)
    {
        switch (step.Kind)
        {
            case 0:
                return core.Open().Error.Errno;
            case 1:
                core.Close();
                return Errno.None;
            case 2:
                return core.Reset().Error.Errno;
            case 3:
                return Within(core.Read(step.Region, step.Offset, new byte[step.Length]), step.Length);
            case 4:
                return Within(core.Write(step.Region, step.Offset, Bytes(step)), step.Length);
            case 5:
                return Within(core.Read(RegionIndex.Config, step.Offset, new byte[step.Length]), step.Length);
            case 6:
                return Within(core.Write(RegionIndex.Config, step.Offset, Bytes(step)), step.Length);
            case 7:
                var mapped = core.Map(step.Region);
                if (mapped.IsOk)
                    mapped.Value.Write(step.Offset, Bytes(step));
                return mapped.Error.Errno;
            case 8:
                return core.MapDma(step.Offset & ~0xfffUL, new FakeMemory((ulong)step.Length * 512)).Error.Errno;
            case 9:
                return core.UnmapDma(step.Offset & ~0xfffUL).Error.Errno;
            case 10:
                return core.SetTrigger((IrqIndex)step.Region, step.Fault > 5 ? new FakeTarget() : null).Error.Errno;
            case 11:
                return core.GetRegionInfo(step.Region).Error.Errno;
            default:
                return core.GetIrqInfo(step.Region).Error.Errno;
        }
    }

    private static byte[] Bytes(Step step) => [.. Enumerable.Range(0, step.Length).Select(i => (byte)(i + step.Fault))];

    private static Errno Within(VfioResult<int> moved, int asked)
    {
        if (moved.IsOk)
            Assert.InRange(moved.Value, 0, asked);
        return moved.Error.Errno;
    }
}
