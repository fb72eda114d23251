using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Core.Cards;

/// <summary>Cards and devices for tests that begin with one.</summary>
internal static class Card
{
    public static PciAddress At(int device, int function = 0) => new(0, 0x3b, (byte)device, (byte)function);

    public static CardFunction Physical() => new(At(0));

    public static VfioPciCore Closed(CardFunction function, DriverDeclaration? driver = null, CoreOptions? options = null) =>
        VfioPciCore.Register(function, driver, options).Value;

    public static VfioPciCore Open(CardFunction function, DriverDeclaration? driver = null, CoreOptions? options = null)
    {
        var core = Closed(function, driver, options);
        Assert.True(core.Open().IsOk);
        return core;
    }

    public static void WriteCommand(this VfioPciCore core, PciCommand command) =>
        Assert.Equal(2, core.Write(RegionIndex.Config, ConfigOffset.Command, BitConverter.GetBytes((ushort)command)).Value);

    public static void WritePowerState(this VfioPciCore core, PciPowerState state) =>
        Assert.Equal(2, core.Write(RegionIndex.Config, CardFunction.Pmcsr, BitConverter.GetBytes((ushort)state)).Value);

    public static void Healthy(this VfioPciCore core) => Assert.Empty(core.CheckInvariants());
}

/// <summary>A driver that records what resets it was told of.</summary>
internal sealed class ResetLog : IResetObserver
{
    public List<string> Told { get; } = [];

    public void ResetPrepare() => Told.Add("prepare");

    public void ResetDone(VfioResult outcome) => Told.Add(outcome.IsOk ? "done" : $"done {outcome.Error.Errno}");
}
