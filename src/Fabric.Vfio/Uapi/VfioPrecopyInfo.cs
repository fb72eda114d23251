namespace Fabric.Vfio.Uapi;

/// <summary>Flags of PRECOPY_INFO's reply.</summary>
[Flags]
public enum PrecopyFlags : uint
{
    None = 0,

    /// <summary>A fresh start-up set appeared (MG-26). Said only to who opted in to it.</summary>
    Reinit = 1,
}

/// <summary>MIG_GET_PRECOPY_INFO, of a migration data_fd (MG-25). In bytes.</summary>
public readonly record struct VfioPrecopyInfo(uint Argsz, PrecopyFlags Flags, ulong InitialBytes, ulong DirtyBytes) : IUapiRequest<VfioPrecopyInfo>
{
    public PrecopyInfo Info => new(InitialBytes, DirtyBytes);

    public static VfioPrecopyInfo Of(PrecopyInfo info, uint argsz, PrecopyFlags flags = PrecopyFlags.None) =>
        new(argsz, flags, info.InitialBytes, info.DirtyBytes);
}
