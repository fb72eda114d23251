using Fabric.Linux;
using Fabric.Vfio;
using Fabric.Vfio.Migration;
using Fabric.Vfio.Uapi;

namespace Fabric.Hardware.Linux.Kernel;

/// <summary>Migration v2 of a device whose kernel driver has it (contract §2.9): states are set, and their data goes through a descriptor.</summary>
/// <param name="device">Open for as long as this is used.</param>
public sealed class KernelMigration(KernelDevice device)
{
    /// <summary>Feature MIGRATION. Errors: ENOTTY the kernel's driver does not migrate.</summary>
    public VfioResult<MigrationFlags> GetFlags()
    {
        var told = device.Get<VfioDeviceFeatureMigration>();
        return told.IsOk ? told.Value.Known : told.Error;
    }

    /// <summary>Feature MIG_DEVICE_STATE, GET.</summary>
    public VfioResult<MigrationState> GetState()
    {
        var told = device.Get<VfioDeviceFeatureMigState>();
        return told.IsOk ? told.Value.DeviceState : told.Error;
    }

    /// <summary>Feature MIG_DATA_SIZE, in bytes (MG-27).</summary>
    public VfioResult<ulong> GetDataSize()
    {
        var told = device.Get<VfioDeviceFeatureMigDataSize>();
        return told.IsOk ? told.Value.StopCopyLength : told.Error;
    }

    /// <summary>
    /// Feature MIG_DEVICE_STATE, SET. The value is the data of the state, where it has some: the caller's to dispose. On failure the state may have
    /// advanced: ask for it (MG-30). Errors: EINVAL no way leads there; the kernel's.
    /// </summary>
    public VfioResult<KernelMigrationData?> SetState(MigrationState target)
    {
        var set = device.Set(new VfioDeviceFeatureMigState(target));
        if (!set.IsOk)
            return set.Error;
        return set.Value.DataFd >= 0 ? new KernelMigrationData(new Descriptor(set.Value.DataFd)) : null;
    }
}

/// <summary>
/// The data of a migrating device: read while it saves, written while it resumes. One caller at a time; a call may wait for the device.
/// </summary>
public sealed class KernelMigrationData : IDisposable
{
    private readonly Descriptor file;

    internal KernelMigrationData(Descriptor file) => this.file = file;

    /// <summary>Bytes read, 0 at the end. Errors: ENOMSG nothing for now in PRE_COPY; the kernel's.</summary>
    public unsafe VfioResult<int> Read(Span<byte> destination)
    {
        fixed (byte* bytes = destination)
        {
            var moved = Libc.Read(file, bytes, (nuint)destination.Length);
            return moved >= 0 ? (int)moved : KernelCall.Failure("The device's migration data cannot be read.");
        }
    }

    /// <summary>Bytes taken. Errors: EINVAL, EFAULT what the device cannot resume from.</summary>
    public unsafe VfioResult<int> Write(ReadOnlySpan<byte> source)
    {
        fixed (byte* bytes = source)
        {
            var moved = Libc.Write(file, bytes, (nuint)source.Length);
            return moved >= 0 ? (int)moved : KernelCall.Failure("The device does not take this migration data.");
        }
    }

    /// <summary>MIG_GET_PRECOPY_INFO (MG-25). Errors: EINVAL outside of PRE_COPY.</summary>
    public VfioResult<PrecopyInfo> GetPrecopyInfo()
    {
        var info = new VfioPrecopyInfo((uint)VfioPrecopyInfo.WireSize, 0, 0, 0);
        var told = KernelCall.Ioctl(file, MigrationDataIoctls.GetPrecopyInfo, ref info, "MIG_GET_PRECOPY_INFO failed.");
        return told.IsOk ? new PrecopyInfo(info.InitialBytes, info.DirtyBytes) : told.Error;
    }

    public void Dispose() => file.Dispose();
}
