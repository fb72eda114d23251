using System.Collections.Immutable;
using Fabric.Hardware.Emulated.Mtty;
using Fabric.Vfio;

namespace Fabric.Hardware.Emulated.Mdev;

/// <summary>The parents there are to choose from, in the manner of the kernel's samples/vfio-mdev (contract §8.4).</summary>
public static class EmulatedMdevParents
{
    private const string Mtty = "mtty";
    private const string Mdpy = "mdpy";
    private const string Mbochs = "mbochs";

    /// <summary>Displays of a host, as the sample's max_devices.</summary>
    private const int MdpyDisplays = 4;

    /// <summary>Video RAM of a host, MiB, as the sample's max_mbytes.</summary>
    private const int MbochsMegabytes = 256;

    public static ImmutableArray<string> Names { get; } = [Mtty, Mdpy, Mbochs];

    /// <summary>A parent with all that it has to give.</summary>
    /// <exception cref="ArgumentException">There is no such parent.</exception>
    public static IMdevParent Create(string name) => name switch
    {
        Mtty => Serial(new MttyPortPool()),
        Mdpy => new EmulatedMdevParent(
            Mdpy, MdpyDisplays, "displays", [Framebuffer("vga", 640, 480), Framebuffer("xga", 1024, 768), Framebuffer("hd", 1920, 1080)]),
        Mbochs => new EmulatedMdevParent(
            Mbochs, MbochsMegabytes, "MiB of video RAM",
            [Display("small", 4, 800, 600), Display("medium", 16, 1920, 1440), Display("large", 64, 0, 0)]),
        _ => throw new ArgumentException($"There is no emulated mdev parent '{name}'; there are {string.Join(", ", Names)}.", nameof(name)),
    };

    private static EmulatedMdevParent Serial(MttyPortPool pool) => new(
        Mtty, MttyPortPool.Ports, "serial ports", [Card(pool, "Single port serial", 1), Card(pool, "Dual port serial", 2)]);

    private static EmulatedMdevType Card(MttyPortPool pool, string name, int ports) => new(
        $"{Mtty}-{ports}", name, $"a serial card with {(ports == 1 ? "one 16550A port" : "two 16550A ports")}", ports,
        address =>
        {
            var card = MttyFunction.Create(address, ports, pool);
            return card.IsOk ? VfioResult.Of<IPciFunction>(card.Value) : card.Error;
        });

    private static EmulatedMdevType Framebuffer(string size, int width, int height) => new(
        $"{Mdpy}-{size}", $"vfio {size}", $"a framebuffer of {width} by {height} pixels", 1,
        address => VfioResult.Of<IPciFunction>(new MdpyFunction(address, width, height)));

    /// <param name="columns">Most columns that its monitor may say it has; 0 for no limit.</param>
    private static EmulatedMdevType Display(string size, int megabytes, uint columns, uint rows) => new(
        $"{Mbochs}-{size}", $"bochs {size}", $"a Bochs display with {megabytes} MiB of video RAM", megabytes,
        address => VfioResult.Of<IPciFunction>(new MbochsFunction(address, megabytes, columns, rows)));
}
