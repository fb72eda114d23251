using Fabric.Vfio.Core;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Files;

/// <summary>The descriptor of a <see cref="DmaBuf"/>, which others import. It outlives the device's own, revoked for good (IO-91).</summary>
public sealed class DmaBufFile : VfioFile
{
    internal DmaBufFile(DmaBuf buffer) => Buffer = buffer;

    public DmaBuf Buffer { get; }

    private protected override VfioResult<int> OnIoctl(uint number, ulong argument, IUserMemory memory, IFileTable files) => UnknownNumber;

    private protected override void OnClose() => Buffer.Release();
}
