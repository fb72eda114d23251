namespace Fabric.Migration.DataPlane;

/// <summary>A stream between two hosts ended before it was complete. The message is a sentence that can be shown and journaled.</summary>
public sealed class DataPlaneException : Exception
{
    public DataPlaneException(string message)
        : base(message)
    {
    }

    public DataPlaneException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    /// <summary>Only a connection was lost, and a new one may take its place; otherwise the stream is over.</summary>
    internal bool IsLoss { get; init; }
}
