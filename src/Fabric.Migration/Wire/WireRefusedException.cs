using System.Runtime.Serialization;

namespace Fabric.Migration.Wire;

/// <summary>A message, or its bytes, is outside the wire contract and was dropped. The text says what was found.</summary>
public sealed class WireRefusedException(string message, Exception? cause = null) : SerializationException(message, cause);
