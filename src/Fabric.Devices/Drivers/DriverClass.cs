using System.Collections.Immutable;
using System.Reflection;
using System.Text.RegularExpressions;
using Akka.Actor;
using Fabric.Vfio;
using Fabric.Vfio.Core;

namespace Fabric.Devices.Drivers;

/// <summary>
/// A driver's class, by handle: what outlives a plugin, such as an address of a driver that has ended, holds the handle and not the class. Once
/// forgotten it makes nothing any more.
/// </summary>
internal sealed partial class DriverClass
{
    private Type? type;
    private Func<DriverContext, VfioResult>? probe;

    private DriverClass(Type type, Func<DriverContext, VfioResult>? probe) => (this.type, this.probe) = (type, probe);

    /// <summary>Null when it is forgotten.</summary>
    public Type? Type => Volatile.Read(ref type);

    /// <summary>Classes that say of themselves that they are drivers.</summary>
    public static IEnumerable<Type> In(Assembly assembly) =>
        assembly.GetTypes().Where(static type => type.IsDefined(typeof(PciDriverAttribute), inherit: false));

    /// <summary>Reads what the class says of itself. Errors: EINVAL it is no driver, or says what cannot be understood.</summary>
    public static VfioResult<Plugins.PluginDriver> Read(Type type, string? plugin)
    {
        if (type.GetCustomAttribute<PciDriverAttribute>(inherit: false) is not { } stated)
            return Wrong(type, "has no [PciDriver]");
        if (!type.IsSubclassOf(typeof(VariantDriver)) || type.IsAbstract || type.ContainsGenericParameters)
            return Wrong(type, "must be a class derived from VariantDriver, neither abstract nor generic");
        if (type.GetConstructor([typeof(DriverContext)]) is null)
            return Wrong(type, "has no public constructor that takes a DriverContext and nothing else");
        if (stated.Name is null || !Name().IsMatch(stated.Name))
            return Wrong(type, $"is named '{Shown(stated.Name)}'; write lowercase letters, digits, - and _, at most 63");
        if (stated.Name == DriverDeclaration.VfioPci.Name)
            return Wrong(type, "is named vfio-pci, which is the core alone");
        var ids = ImmutableArray.CreateBuilder<DriverId>();
        foreach (var text in (stated.Match ?? "").Split([' ', ','], StringSplitOptions.RemoveEmptyEntries))
        {
            if (!DriverId.TryParse(text, out var id))
                return Wrong(type, $"matches '{Shown(text)}', which is no id; write vendor:device, such as 1d0f:efa1");
            ids.Add(id);
        }

        var handle = new DriverClass(type, ProbeOf(type));
        return new Plugins.PluginDriver(handle, new DriverRegistration(stated.Name, ids.ToImmutable(), stated.Model, handle.Create)
        {
            Priority = stated.Priority,
            InFrontOf = stated.InFrontOf,
            ConfiguresSriov = stated.ConfiguresSriov,
            Migrates = type.IsSubclassOf(typeof(MigratingDriver)),
            Plugin = plugin,
            Probe = handle.probe is null ? null : handle.Ask,
        });
    }

    public void Forget()
    {
        Volatile.Write(ref type, null);
        Volatile.Write(ref probe, null);
    }

    public Props Create(DriverContext context) => Props.CreateBy(new Producer(this, context));

    private VfioResult Ask(DriverContext context) =>
        Volatile.Read(ref probe)?.Invoke(context) ?? VfioResult.Fail(Errno.ENODEV, "The driver was unloaded.");

    private static Func<DriverContext, VfioResult>? ProbeOf(Type type) => type.IsAssignableTo(typeof(IDriverProbe))
        ? typeof(DriverClass).GetMethod(nameof(ProbeBy), BindingFlags.Static | BindingFlags.NonPublic)!
            .MakeGenericMethod(type).CreateDelegate<Func<DriverContext, VfioResult>>()
        : null;

    private static VfioResult ProbeBy<T>(DriverContext context)
        where T : IDriverProbe => T.Probe(context);

    /// <summary>What somebody else's code threw, without a reference to it.</summary>
    public static string Words(Exception thrown) =>
        thrown is TypeInitializationException or TargetInvocationException && thrown.InnerException is { } cause
            ? Words(cause)
            : $"{thrown.GetType().Name}: {thrown.Message}";

    private static VfioError Wrong(Type type, string what) => new(Errno.EINVAL, $"Its class {Shown(type.FullName)} {what}.");

    private static string Shown(string? text) => new([.. (text ?? "").Take(80).Select(static letter => char.IsControl(letter) ? '?' : letter)]);

    /// <summary>What a constructor throws is told in words: an exception would keep the plugin's code in memory while somebody has it.</summary>
    private sealed class Producer(DriverClass driver, DriverContext context) : IIndirectActorProducer
    {
        public Type ActorType => typeof(VariantDriver);

        public ActorBase Produce()
        {
            try
            {
                return (ActorBase)Activator.CreateInstance(driver.Type ?? throw new DriverNotMadeException("The driver was unloaded."), context)!;
            }
            catch (TargetInvocationException failed) when (failed.InnerException is { } cause)
            {
                throw new DriverNotMadeException(Words(cause));
            }
        }

        public void Release(ActorBase actor)
        {
        }
    }

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9_-]{0,62}\z")]
    private static partial Regex Name();
}

/// <summary>A driver's constructor threw, or the driver is not there any more.</summary>
internal sealed class DriverNotMadeException(string what) : Exception(what);
