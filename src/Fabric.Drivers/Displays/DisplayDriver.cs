using Fabric.Devices;
using Fabric.Devices.Drivers;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Drivers.Displays;

/// <summary>What mediated displays have in common: no interrupt, not even ERR and REQ (contract §8.4).</summary>
public abstract class DisplayDriver : VariantDriver
{
    private const string NoInterrupts = "A mediated display has no interrupts; GET_IRQ_INFO counts none.";

    protected DisplayDriver(DriverContext context)
        : base(context)
    {
        On<GetIrqInfo>(
            static info => info.Index is >= (int)IrqIndex.Intx and <= (int)IrqIndex.Req,
            info => Reply(new IrqInfoRead(new IrqInfo((IrqIndex)info.Index, IrqFlags.None, 0))));
        Hide<SetDeviceIrqs>(NoInterrupts, Errno.EINVAL);
        Hide<SetTrigger>(NoInterrupts, Errno.EINVAL);
    }
}
