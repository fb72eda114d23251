using Fabric.Hardware.Emulated.Models;
using Fabric.Pci;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Sriov;

/// <summary>
/// A PF whose firmware takes commands about its VFs, given by the PF's driver (<see cref="IPfChannel"/>). That driver is part of the emulated
/// card, as it is of a host's kernel: it is there until it is taken away.
/// </summary>
public abstract class CommandedPhysicalFunction : SriovPhysicalFunction
{
    private readonly Lock telling = new();
    private readonly List<PfChannel> channels = [];
    private volatile bool hasDriver = true;

    private protected CommandedPhysicalFunction(PciAddress address, FunctionModel model, int totalVfs, TimeProvider time)
        : base(address, model, totalVfs, isStatic: false) => Time = time;

    internal TimeProvider Time { get; }

    /// <summary>Which commands its firmware takes.</summary>
    public abstract string Protocol { get; }

    /// <summary>How long a command that goes on by itself takes.</summary>
    public TimeSpan CommandTime { get; set; } = TimeSpan.FromMilliseconds(1);

    internal bool HasDriver => hasDriver;

    /// <summary>The driver of the PF goes: commands are ENOTCONN until <see cref="AttachDriver"/>.</summary>
    public void DetachDriver()
    {
        hasDriver = false;
        OnDriverDetached();
        Tell(PfEvent.Detached);
    }

    public void AttachDriver() => hasDriver = true;

    /// <summary>The firmware restarts: what it knew of migrations is lost, its VFs run on.</summary>
    public void RestartFirmware()
    {
        OnFirmwareRestart();
        Tell(PfEvent.FirmwareReset);
    }

    private protected virtual void OnFirmwareRestart()
    {
    }

    /// <summary>What the driver had made in firmware goes with it.</summary>
    private protected virtual void OnDriverDetached()
    {
    }

    /// <summary>Hangs, gone or switched off it takes no command.</summary>
    internal bool TakesCommands() => Reaches(HangPoint.Region, out _);

    internal PfChannel Open(CommandedVirtualFunction function)
    {
        var channel = new PfChannel(this, function);
        lock (telling)
            channels.Add(channel);
        return channel;
    }

    internal void Close(PfChannel channel)
    {
        lock (telling)
            channels.Remove(channel);
    }

    private void Tell(PfEvent happened)
    {
        PfChannel[] told;
        lock (telling)
            told = [.. channels];
        foreach (var channel in told)
            channel.Tell(happened);
    }
}

/// <summary>A VF whose migration is its PF's firmware's.</summary>
public abstract class CommandedVirtualFunction : EmulatedFunction
{
    private readonly CommandedPhysicalFunction parent;
    private readonly PfChannel channel;

    private protected CommandedVirtualFunction(PciAddress address, FunctionModel model, CommandedPhysicalFunction parent)
        : base(address, model)
    {
        this.parent = parent;
        channel = parent.Open(this);
        Platform = new BehindPf(channel);
    }

    public override PciAddress? PhysicalFunction => parent.Address;

    public override IFunctionPlatform Platform { get; }

    internal override EmulatedFunction? Parent => parent;

    private protected override bool IsEnabled => parent.EnablesVirtualFunctions;

    /// <summary>Carries out a command of the PF's driver, with no lock held. Returns the reply's bytes. Errors: ENOSPC where they do not fit.</summary>
    internal abstract VfioResult<int> Execute(ReadOnlySpan<byte> command, Span<byte> reply);

    /// <summary>Tells the VF's driver, by way of the PF's.</summary>
    private protected void Tell(PfEvent happened) => channel.Tell(happened);

    public override void Dispose()
    {
        parent.Close(channel);
        base.Dispose();
        GC.SuppressFinalize(this);
    }

    private sealed class BehindPf(PfChannel channel) : IFunctionPlatform
    {
        public IPfChannel? PhysicalFunction => channel.IsOpen ? channel : null;
    }
}
