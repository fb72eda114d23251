namespace Fabric.Vfio.Core.ConfigSpace;

/// <summary>Takes the chunks of writes to the header or to one capability (CF-2), writes them and does what they ask for.</summary>
internal interface IWriteEffect
{
    /// <param name="register">Bytes from the start of the header or capability.</param>
    /// <param name="length">1, 2 or 4.</param>
    void Write(int register, int length, uint value);
}
