namespace Fabric.Migration.Wire;

/// <summary>
/// Everything that crosses between nodes. Implemented by sealed records only; <see cref="WireContract"/> lists them and
/// <see cref="HyperionWireSerializer"/> carries them. A message without this marker does not cross.
/// </summary>
public interface IWireMessage;
