using CsCheck;
using Fabric.Hardware.Specs.Accelerator;
using Fabric.Pci;
using Fabric.Pci.Capabilities;
using Fabric.Vfio;
using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Emulated.Tests;

/// <summary>
/// Whatever is done to the functions of the zoo by their holders, their host and the fault lab, in whatever order: after every step the
/// core's invariants hold, and what hardware shows is what its state allows.
/// </summary>
public sealed class ZooWalkTests
{
    private enum Op
    {
        Open,
        Close,
        Command,
        PowerState,
        WriteConfig,
        ReadConfig,
        ReadBar,
        WriteBar,
        Line,
        Vector,
        NoVectors,
        Message,
        Reset,
        FunctionLevelReset,
        HotReset,
        ResetByHost,
        NumVfs,
        Unregister,
        RegisterAll,
        ResetLink,
        HotResetOfBus,
        CyclePower,
        Aer,
        PullOut,
        PutBack,
        Remove,
        Flap,
        ResetFails,
        ResetKills,
        NotReady,
        Time,
    }

    private readonly record struct Step(Op Op, int Function, int Value)
    {
        public override string ToString() => $"{Op}({Function}, 0x{Value:x})";
    }

    private static readonly Gen<Step> AnyStep = Gen.Select(
        Gen.Frequency(
            (4, Gen.Const(Op.Open)), (3, Gen.Const(Op.RegisterAll)), (3, Gen.Const(Op.Command)), (2, Gen.Const(Op.PutBack)),
            (2, Gen.Const(Op.Time)), (31, Gen.Enum<Op>())),
        Gen.Int[0, 9],
        Gen.Int[0, 0x1ff],
        (op, function, value) => new Step(op, function, value));

    [Fact]
    public void Every_walk_over_the_zoo_keeps_the_laws_INV_1_INV_2_INV_3_INV_5_INV_6_INV_10() => AnyStep.Array[1, 50].Sample(
        walk =>
        {
            if (FailureOf(walk) is not null)
                Report(Shortest(walk));
        },
        iter: 1000,
        print: walk => $"{walk.Length} steps");

    private static Exception? FailureOf(IReadOnlyList<Step> walk)
    {
        using var lab = new Lab();
        return Record.Exception(() =>
        {
            foreach (var step in walk)
            {
                lab.Take(step);
                lab.Check();
            }
        });
    }

    /// <summary>Leaves out every step that the failure does not need: what remains is the script to read.</summary>
    private static List<Step> Shortest(IEnumerable<Step> walk)
    {
        var script = walk.ToList();
        for (var length = 0; length != script.Count;)
        {
            length = script.Count;
            for (var i = script.Count - 1; i >= 0; i--)
            {
                List<Step> shorter = [.. script[..i], .. script[(i + 1)..]];
                if (FailureOf(shorter) is not null)
                    script = shorter;
            }
        }

        return script;
    }

    private static void Report(List<Step> script) => Assert.Fail($"{string.Join("\n", script)}\n{FailureOf(script)}");

    private sealed class Lab : IDisposable
    {
        private readonly Zoo zoo = new(new EmulatedBusOptions(0, 2, AcceleratorState.Granule)
        {
            Cards =
            [
                new EmulatedCard(EmulatedModels.Accelerator), new EmulatedCard(EmulatedModels.MultiFunction),
                new EmulatedCard(EmulatedModels.Conventional),
                new EmulatedCard(EmulatedModels.NoFlr), new EmulatedCard(EmulatedModels.NotReady),
            ],
        });

        private readonly PciAddress[] addresses;
        private readonly Dictionary<PciAddress, (VfioPciCore Core, EmulatedFunction Function)> registered = [];
        private readonly Counter counter = new();

        public Lab()
        {
            addresses = [.. zoo.Bus.Functions.Select(function => function.Address), Zoo.At("fab0:01:00.1"), Zoo.At("fab0:01:00.2")];
            RegisterAll();
        }

        public void Take(Step step)
        {
            var address = addresses[step.Function % addresses.Length];
            var errno = OfBus(step, address)
                ?? (registered.TryGetValue(address, out var device) ? OfDevice(step, device.Core, device.Function) : Errno.None);
            Assert.True(Enum.IsDefined(errno), $"{errno} is no errno.");
        }

        public void Check()
        {
            foreach (var (core, function) in registered.Values)
            {
                // Of one that answers nothing every bit of COMMAND reads 1: what it does with its bus cannot be known.
                var answers = function.Config16(ConfigOffset.Command) != 0xffff;
                Assert.Empty(core.CheckInvariants().Where(law => answers || law != "INV-3"));
                if (answers && !core.IsOpen)
                    Assert.False(
                        core.References == 0 && (function.Command() & PciCommand.BusMaster) != 0,
                        $"{core.Address} masters the bus and nobody holds it.");
                if (!zoo.Bus.Functions.Contains(function))
                    Assert.Equal((uint.MaxValue, false), (function.Config32(0), function.SendMessage(0)));
            }

            Assert.Equal(zoo.Bus.Functions.Select(function => function.Address).Order(), zoo.Bus.Functions.Select(function => function.Address));
        }

        public void Dispose() => zoo.Dispose();

        /// <summary>Null for what is no affair of the bus.</summary>
        private Errno? OfBus(Step step, PciAddress address)
        {
            switch (step.Op)
            {
                case Op.RegisterAll:
                    RegisterAll();
                    return Errno.None;
                case Op.ResetLink:
                    return zoo.Bus.ResetLink(address).Error.Errno;
                case Op.HotResetOfBus:
                    return zoo.Bus.HotReset(address).Error.Errno;
                case Op.CyclePower:
                    return zoo.Bus.CyclePower(address).Error.Errno;
                case Op.Aer:
                    return zoo.Bus.InjectAer(address, (AerSeverity)(step.Value % 3)).Error.Errno;
                case Op.PullOut:
                    return zoo.Bus.PullOut(address).Error.Errno;
                case Op.PutBack:
                    return zoo.Bus.PutBack(address).Error.Errno;
                case Op.Remove:
                    return zoo.Bus.Remove(address).Error.Errno;
                case Op.Flap:
                    return zoo.Bus.Flap(address, 1 + (step.Value % 3), TimeSpan.FromSeconds(1)).Error.Errno;
                case Op.ResetFails:
                    return zoo.Bus.SetResetFault(
                        address, new ResetFault.Fails(step.Value % 3, step.Value % 2 == 0 ? Errno.EIO : Errno.EAGAIN, ResetRungs.All)).Error.Errno;
                case Op.ResetKills:
                    return zoo.Bus.SetResetFault(address, new ResetFault.Dies(1, (ResetRungs)(1 + (step.Value % 7)))).Error.Errno;
                case Op.NotReady:
                    return zoo.Bus.SetResetFault(
                        address, new ResetFault.NotReady(TimeSpan.FromSeconds(step.Value), (NotReadyAnswer)(step.Value % 2), Times: 2)).Error.Errno;
                case Op.Time:
                    zoo.Time.Advance(TimeSpan.FromSeconds(step.Value / 8.0));
                    return Errno.None;
                default:
                    return null;
            }
        }

        private Errno OfDevice(Step step, VfioPciCore core, EmulatedFunction function)
        {
            var value = step.Value;
            switch (step.Op)
            {
                case Op.Open:
                    return core.Open().Error.Errno;
                case Op.Close:
                    core.Close();
                    Forget(core);
                    return Errno.None;
                case Op.Command:
                    return Write(core, ConfigOffset.Command, (byte)(value & 7), (byte)((value >> 6) & 4));
                case Op.PowerState:
                    return Write(core, 0x44, (byte)(value & 3), 0);
                case Op.WriteConfig:
                    return Write(core, value, (byte)value, (byte)(value >> 1), (byte)(value >> 2), (byte)(value >> 3));
                case Op.ReadConfig:
                    return core.Read(RegionIndex.Config, (ulong)value, new byte[value & 0xff]).Error.Errno;
                case Op.ReadBar:
                    return core.Read(value & 7, (ulong)value, new byte[value & 0x1f]).Error.Errno;
                case Op.WriteBar:
                    return core.Write(value & 7, (ulong)value, new byte[value & 0x1f]).Error.Errno;
                case Op.Line:
                    function.SetLine((value & 1) != 0);
                    return core.SetTrigger(IrqIndex.Intx, counter).Error.Errno;
                case Op.Vector:
                    return core.SetIrqs(new SetIrqs(
                        (uint)(1 + (value & 1)), (uint)((value >> 1) & 7), 1, IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventfd,
                        Events: new[] { EventRef.Of(counter) })).Error.Errno;
                case Op.NoVectors:
                    return core.SetIrqs(new SetIrqs((uint)(value % 3), 0, 0, IrqSetFlags.ActionTrigger | IrqSetFlags.DataNone)).Error.Errno;
                case Op.Message:
                    var before = counter.Signals;
                    Assert.Equal(function.SendMessage(value & 7), counter.Signals > before);
                    return Errno.None;
                case Op.Reset:
                    return core.Reset().Error.Errno;
                case Op.FunctionLevelReset:
                    return Write(core, 0x48 + PciExpressCapability.DeviceControl, 0, 0x80);
                case Op.HotReset:
                    return core.HotReset(new GroupOwnership(core.IommuGroup!.Value)).Error.Errno;
                case Op.ResetByHost:
                    return core.ResetByHost().Error.Errno;
                case Op.NumVfs:
                    return core.WriteNumVfs($"{value % 3}").Error.Errno;
                case Op.Unregister:
                    core.Unregister();
                    Forget(core);
                    return Errno.None;
                default:
                    throw new InvalidOperationException($"{step.Op} is the bus's.");
            }
        }

        private void RegisterAll()
        {
            foreach (EmulatedFunction function in zoo.Bus.Functions)
            {
                // What was registered there and is gone makes place, once its holder lets go.
                if (registered.TryGetValue(function.Address, out var device) && device.Function != function)
                {
                    device.Core.Unregister();
                    device.Core.Close();
                    Forget(device.Core);
                }

                var taken = zoo.Devices.Register(function, options: new CoreOptions(EnableSriov: true, DisableIdleD3: function.Address.Bus == 2));
                if (taken.IsOk)
                    registered[function.Address] = (taken.Value, function);
            }
        }

        private void Forget(VfioPciCore core)
        {
            if (core.Registration == RegistrationState.Unregistered && registered.TryGetValue(core.Address, out var device) && device.Core == core)
                registered.Remove(core.Address);
        }

        private static Errno Write(VfioPciCore core, int offset, params byte[] bytes) =>
            core.Write(RegionIndex.Config, (ulong)offset, bytes).Error.Errno;
    }
}
