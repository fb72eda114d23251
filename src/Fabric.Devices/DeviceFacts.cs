using System.Globalization;
using Akka.Actor;
using Fabric.Pci;
using Fabric.Vfio.Core;
using Fabric.Vfio.Migration;

namespace Fabric.Devices;

/// <summary>What happened to a device; driver, core and recovery tell it to the supervisor, which keeps the history.</summary>
public abstract record DeviceFact : INoSerializationVerificationNeeded
{
    private protected static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.###} s");
}

public sealed record SessionOpened(string Holder) : DeviceFact;

/// <summary>Also told to the driver.</summary>
public sealed record SessionClosed(SessionId Session, string Holder, string Why) : DeviceFact
{
    /// <summary>The device is closed with it; false where its group has it open still (LC-12).</summary>
    public bool IsLast { get; init; } = true;
}

/// <summary>A reset of the function, its slot, its bus or its power.</summary>
/// <param name="What">Such as <c>flr</c>, <c>slot reset</c>.</param>
public sealed record ResetTried(string What, bool Worked, string Why, TimeSpan Took) : DeviceFact
{
    public override string ToString() => $"{What}: {(Worked ? "done" : "failed")} in {Seconds(Took)}, {Why}";
}

public sealed record MigrationStateChanged(MigrationState State) : DeviceFact;

/// <summary>Errors since the last that was told of: one, or a storm folded into one fact.</summary>
/// <param name="Last">The worst of them; the last of those.</param>
public sealed record ErrorsReported(AerRecord Last, long Correctable, long Uncorrectable) : DeviceFact;

/// <summary>A recovery begins in which the device takes part.</summary>
public sealed record RecoveryStarted(AerRecord Record, bool IsSource) : DeviceFact;

public sealed record RecoveryEnded(bool Recovered) : DeviceFact;

/// <summary>A reset that nobody told of had taken config space, which was given back (CF-11, ER-10).</summary>
public sealed record LostConfigRepaired(LostConfig Lost) : DeviceFact;

/// <summary>Its driver broke a rule of the kit and was not restarted for it.</summary>
public sealed record DriverFault(string What) : DeviceFact;

/// <summary>Its config space reads all ones.</summary>
public sealed record LinkFoundDead : DeviceFact;

/// <summary>A call to the device's hardware has not come back within its deadline.</summary>
/// <param name="Call">What hangs, such as <c>reset by flr</c>.</param>
public sealed record HardwareHung(string Call, TimeSpan For) : DeviceFact;

/// <summary>A call that had been given up has come back; what it brought was thrown away.</summary>
public sealed record HangEnded(string Call, TimeSpan Took) : DeviceFact;

/// <summary>Its holder is asked for release, for the n-th time (LC-33).</summary>
/// <param name="Heard">REQ was signalled; else nobody listens.</param>
public sealed record ReleaseRequested(int Number, bool Heard, TimeSpan Waited) : DeviceFact;
