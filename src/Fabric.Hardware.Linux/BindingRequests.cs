using System.Collections.Immutable;
using System.Text.Json;
using Fabric.Pci;

namespace Fabric.Hardware.Linux;

/// <summary>A function that somebody asked this host to take.</summary>
/// <param name="Function">PCI address.</param>
/// <param name="Force">Though the machine itself needs it.</param>
/// <param name="By">Who asked.</param>
public sealed record BindingRequest(string Function, bool Force, string By);

/// <summary>
/// The functions that operators had this host take, in a file: the next daemon, and the one after a reboot, takes them again until it is asked to
/// give them back.
/// </summary>
public sealed class BindingRequests
{
    private readonly string file;
    private ImmutableSortedDictionary<PciAddress, BindingRequest> all;

    /// <exception cref="IOException">The file cannot be read, or is none of ours.</exception>
    public BindingRequests(string file)
    {
        this.file = file;
        try
        {
            all = !File.Exists(file)
                ? ImmutableSortedDictionary<PciAddress, BindingRequest>.Empty
                : (JsonSerializer.Deserialize<BindingRequest[]>(File.ReadAllBytes(file)) ?? [])
                    .ToImmutableSortedDictionary(static request => PciAddress.Parse(request.Function), static request => request);
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentException)
        {
            throw new IOException($"{file} is not a list of functions that this host took: {e.Message} Repair it, or move it away to begin without.", e);
        }
    }

    /// <summary>May be read from any thread.</summary>
    public IReadOnlyCollection<BindingRequest> All => [.. Volatile.Read(ref all).Values];

    public bool Has(PciAddress function) => Of(function) is not null;

    /// <summary>Null where nobody asked for it.</summary>
    public BindingRequest? Of(PciAddress function) => Volatile.Read(ref all).GetValueOrDefault(function);

    /// <summary>It is on the disk when this returns.</summary>
    public void Add(PciAddress function, bool force, string by) => Keep(all.SetItem(function, new BindingRequest(function.ToString(), force, by)));

    public void Remove(PciAddress function) => Keep(all.Remove(function));

    private void Keep(ImmutableSortedDictionary<PciAddress, BindingRequest> now)
    {
        DurableFile.Write(file, now.Values.ToArray());
        Volatile.Write(ref all, now);
    }
}
