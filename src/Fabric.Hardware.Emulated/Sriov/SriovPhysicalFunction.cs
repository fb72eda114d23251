using Fabric.Hardware.Emulated.Config;
using Fabric.Hardware.Emulated.Models;
using Fabric.Pci;
using Fabric.Pci.Capabilities;

namespace Fabric.Hardware.Emulated.Sriov;

/// <summary>
/// A physical function with SR-IOV, where its model has that capability. What its VFs are lives and dies with VF Enable: a reset of the PF clears
/// that bit, and they answer nothing, as at power-on, until it is set again.
/// </summary>
public abstract class SriovPhysicalFunction : EmulatedFunction, IVirtualFunctionParent
{
    private readonly bool isStatic;

    /// <summary>VF Enable and VF memory space: read on every access to a VF.</summary>
    private volatile bool enablesVirtualFunctions;

    private protected SriovPhysicalFunction(PciAddress address, FunctionModel model, int totalVfs, bool isStatic)
        : base(address, model) => (TotalVirtualFunctions, this.isStatic) = (totalVfs, isStatic);

    /// <summary>VFs that it can have.</summary>
    public int TotalVirtualFunctions { get; }

    /// <summary>Whether VFs that it made answer.</summary>
    internal bool EnablesVirtualFunctions => enablesVirtualFunctions;

    bool IVirtualFunctionParent.HasStaticVirtualFunctions => isStatic;

    private protected bool HasStaticVirtualFunctions => isStatic;

    void IVirtualFunctionParent.EnableVirtualFunctions(int count)
    {
        lock (Clock)
        {
            Put16(Layout.Sriov + SriovCapability.NumVfs, count);
            Put16(
                Layout.Sriov + SriovCapability.Control,
                count == 0 ? 0 : SriovControl.Enable | SriovControl.MemorySpaceEnable | SriovControl.AriHierarchy);
            LookAtEnable();
        }
    }

    EmulatedFunction IVirtualFunctionParent.CreateVirtualFunction(int number) =>
        CreateVirtualFunction(PciAddress.FromRoutingId(Address.Domain, (ushort)(Address.RoutingId + number)));

    /// <summary>One of its VFs, as at power-on.</summary>
    private protected abstract EmulatedFunction CreateVirtualFunction(PciAddress address);

    private protected override ConfigEffects OnConfigWritten(int offset, ReadOnlySpan<byte> source)
    {
        LookAtEnable();
        return ConfigEffects.None;
    }

    private protected override void OnReset() => LookAtEnable();

    /// <summary>VFs that the PF's reset has turned off have lost what they held when they are turned on again.</summary>
    private protected override void AfterReset()
    {
        if (isStatic || Bus is not { } bus)
            return;
        foreach (var made in bus.VirtualFunctionsOf(this))
            made.Lose(keepsPower: true);
    }

    private void LookAtEnable()
    {
        const int both = SriovControl.Enable | SriovControl.MemorySpaceEnable;
        enablesVirtualFunctions = Layout.Sriov != 0 && (Get16(Layout.Sriov + SriovCapability.Control) & both) == both;
    }
}
