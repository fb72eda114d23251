using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;

namespace Fabric.Migration.Wire;

/// <summary>
/// Hands the wire contract to the serializers of one actor system, which Akka builds itself and so cannot be given it
/// by their constructors. Goes with <see cref="WireConfig"/>.
/// </summary>
public sealed class WireSetup(WireContract contract) : Setup
{
    public WireContract Contract { get; } = contract;

    /// <summary>What this actor system has refused so far.</summary>
    public WireRefusals Refusals { get; } = new();

    /// <exception cref="ConfigurationException">The actor system was started without a <see cref="WireSetup"/>.</exception>
    internal static WireSetup Of(ExtendedActorSystem system)
    {
        var setup = system.Settings.Setup.Get<WireSetup>();
        return setup.HasValue
            ? setup.Value
            : throw new ConfigurationException(
                $"Actor system '{system.Name}' uses the wire without a contract; add a {nameof(WireSetup)} to its ActorSystemSetup.");
    }
}
