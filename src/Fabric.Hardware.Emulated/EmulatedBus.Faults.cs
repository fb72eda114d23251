using System.Collections.Immutable;
using Fabric.Hardware.Emulated.Sriov;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated;

/// <summary>Faults that are made on purpose.</summary>
public sealed partial class EmulatedBus
{
    private const int MostFlaps = 100;

    /// <summary>Functions that were pulled out or removed, as they were, by address.</summary>
    private readonly Dictionary<PciAddress, EmulatedFunction> absent = [];

    private readonly List<LinkFlap> flaps = [];

    private bool isDisposed;

    /// <summary>
    /// Fills status, header log and first error pointer as the function itself would, whatever its masks say, and reports. An uncorrectable
    /// error stops what the function does; a fatal one of a port, what everything below it does. Errors: ENODEV, EOPNOTSUPP without AER.
    /// </summary>
    public VfioResult InjectAer(PciAddress source, AerSeverity severity) => Change(() =>
    {
        var port = FindPort(source);
        if ((port ?? there.Find(source)) is not { } function)
            return NoSuchFunction;
        var reported = function.ReportError(severity);
        if (!reported.IsOk)
            return reported.Error;
        if (severity != AerSeverity.Correctable)
            function.Fail();
        if (port is not null && severity == AerSeverity.Fatal)
        {
            foreach (var below in there.Below(port))
                below.Fail();
        }

        events.Add(new AerReported(reported.Value));
        return VfioResult.Ok;
    });

    /// <summary>The threads that call are blocked until <see cref="Release"/>, or until the bus is disposed of.</summary>
    public VfioResult Hang(PciAddress function, HangPoint point) => OnFunction(function, found => found.Hang(point));

    public VfioResult Release(PciAddress function)
    {
        lock (mutation)
        {
            if (there.Find(function) is not { } hanging && !absent.TryGetValue(function, out hanging))
                return NoSuchFunction;
            hanging.Release();
            return VfioResult.Ok;
        }
    }

    /// <summary>How many calls to a function, or to the one that was pulled out there, hang now.</summary>
    public int HungCalls(PciAddress function)
    {
        lock (mutation)
            return (there.Find(function) ?? absent.GetValueOrDefault(function))?.HungCalls ?? 0;
    }

    /// <summary>What is wrong with the resets of a function from now on; null for nothing. Errors: ENODEV.</summary>
    public VfioResult SetResetFault(PciAddress function, ResetFault? fault) => OnFunction(function, found => found.SetResetFault(fault));

    /// <summary>The VFs of a PF go with it. Errors: ENODEV.</summary>
    public VfioResult PullOut(PciAddress function) => Change(() => Take(function));

    /// <summary>
    /// What comes back is a new function, as at power-on; who still holds the old one reads all ones for ever. VFs that the host had made do
    /// not come back with their PF. Errors: EEXIST, ENODEV where none was pulled out, or its PF is not there.
    /// </summary>
    public VfioResult PutBack(PciAddress function) => Change(() => Return(function));

    /// <summary>
    /// The link of a card is that of all its functions: they vanish and appear together, the first time at once. Errors: EINVAL, ENODEV,
    /// EBUSY while it flaps already.
    /// </summary>
    public VfioResult Flap(PciAddress function, int times, TimeSpan each) => Change(() =>
    {
        if (times is < 1 or > MostFlaps || each <= TimeSpan.Zero)
            return VfioResult.Fail(Errno.EINVAL, "A link flaps 1 to 100 times, and is down and up for some time each.");
        if (there.Find(function) is null || PortAbove(function) is not { } above)
            return NoSuchFunction;
        if (flaps.Exists(running => running.Port == above))
            return VfioResult.Fail(Errno.EBUSY, "The link of this function flaps already.");
        var flap = new LinkFlap(above, [.. there.Functions.Where(member => above.IsAbove(member.Address) && !member.IsVirtualFunction)
            .Select(static member => member.Address)], times);
        flaps.Add(flap);
        TakeTurn(flap);
        flap.Timer = Time.CreateTimer(_ => Change(() => TakeTurn(flap)), null, each, each);
        return VfioResult.Ok;
    });

    /// <summary>Somebody may have pulled one out, or put it back, in the meantime: then it is where it was wanted.</summary>
    private VfioResult TakeTurn(LinkFlap flap)
    {
        if (flap.IsOver)
            return VfioResult.Ok;
        if (flap.GoesDown())
        {
            foreach (var function in flap.Functions.Reverse())
                Take(function);
        }
        else
        {
            foreach (var function in flap.Functions)
                Return(function);
        }

        if (flap.IsOver)
        {
            flap.Dispose();
            flaps.Remove(flap);
        }

        return VfioResult.Ok;
    }

    private VfioResult Take(PciAddress address)
    {
        if (there.Find(address) is not { } function)
            return NoSuchFunction;
        var virtualFunctions = there.VirtualFunctionsOf(function);
        foreach (var orphan in absent.Values.Where(candidate => candidate.Parent == function).ToArray())
            Forget(orphan.Address);
        Leave([function, .. virtualFunctions]);
        absent[address] = function;
        foreach (var with in virtualFunctions)
        {
            if (with.Parent is null)
                absent[with.Address] = with;
            else
                with.Dispose();
        }

        return VfioResult.Ok;
    }

    private VfioResult Return(PciAddress address)
    {
        if (there.Find(address) is not null)
            return VfioResult.Fail(Errno.EEXIST, "The function is there.");
        if (!absent.TryGetValue(address, out var before))
            return NoSuchFunction;
        if (before.PhysicalFunction is { } physical && (there.Find(physical) is not { } parent || (before.Parent ?? parent) != parent))
            return VfioResult.Fail(Errno.ENODEV, "The function's PF is not there; put that back first.");
        ImmutableArray<EmulatedFunction> back = before is IVirtualFunctionParent { HasStaticVirtualFunctions: true }
            ? [before, .. absent.Values.Where(with => with.PhysicalFunction == address).OrderBy(static with => with.Address)]
            : [before];
        var renewed = ImmutableArray.CreateBuilder<EmulatedFunction>(back.Length);
        foreach (var returning in back)
        {
            var renewal = returning.Renew();
            renewal.PlaceLike(returning);
            renewed.Add(renewal);
            Forget(returning.Address);
        }

        Enter(renewed.MoveToImmutable());
        return VfioResult.Ok;
    }

    /// <summary>Calls that hang in one that is never coming back have nothing left to hang in.</summary>
    private void Forget(PciAddress address)
    {
        if (absent.Remove(address, out var forgotten))
            forgotten.Dispose();
    }

    private VfioResult OnFunction(PciAddress address, Action<EmulatedFunction> act)
    {
        lock (mutation)
        {
            if (isDisposed || there.Find(address) is not { } found)
                return NoSuchFunction;
            act(found);
            return VfioResult.Ok;
        }
    }
}
