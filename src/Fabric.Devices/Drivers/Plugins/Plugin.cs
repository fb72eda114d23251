using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Runtime.Loader;
using Akka.Actor;

namespace Fabric.Devices.Drivers.Plugins;

internal sealed record PluginDriver(DriverClass Class, DriverRegistration Registration);

/// <summary>A plugin that is loaded.</summary>
/// <param name="name">Its folder's name.</param>
internal sealed class Plugin(string name, string version, AssemblyLoadContext context, ImmutableArray<PluginDriver> drivers)
{
    private readonly WeakReference<AssemblyLoadContext> memory = new(context);
    private AssemblyLoadContext? context = context;

    public string Name { get; } = name;

    /// <summary>As its assembly says.</summary>
    public string Version { get; } = version;

    public ImmutableArray<DriverRegistration> Drivers { get; } = [.. drivers.Select(static driver => driver.Registration)];

    /// <summary>See <see cref="PluginTrial"/>.</summary>
    /// <param name="tried">Told once what is wrong with one of them, or null; never where a constructor does not return.</param>
    public void Try(Action<string?> tried) =>
        ActorSystem.Create("driver-trial", PluginTrial.Hocon).ActorOf(PluginTrial.Props(drivers, tried), "trial");

    /// <summary>Its code is in memory still, in use by something.</summary>
    public bool IsInMemory => memory.TryGetTarget(out _);

    /// <summary>
    /// No actor of it runs any more: lets go of all that the host has of it. Its code leaves memory when nobody uses anything of it; what it has left
    /// running, such as a thread of its own, keeps it there.
    /// </summary>
    /// <param name="system">Where its drivers ran.</param>
    public void Unload(ActorSystem system)
    {
        foreach (var driver in drivers)
        {
            if (driver.Class.Type is { } type)
                ForgetIn(system, type);
            driver.Class.Forget();
        }

        context?.Unload();
        context = null;
    }

    /// <summary>An actor system remembers every type of actor that it has made, for ever; its type keeps an assembly in memory.</summary>
    public static void ForgetIn(ActorSystem system, Type type) =>
        Pipelines(((ExtendedActorSystem)system).ActorPipelineResolver).TryRemove(type, out _);

    /// <summary>Akka 1.5.74. Where another version has it no more, the test that unloads a plugin fails.</summary>
    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_pipelines")]
    private static extern ref ConcurrentDictionary<Type, ActorProducerPipeline> Pipelines(ActorProducerPipelineResolver resolver);
}
