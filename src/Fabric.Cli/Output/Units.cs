using System.Globalization;

namespace Fabric.Cli.Output;

/// <summary>Figures as people read them.</summary>
internal static class Units
{
    private const double KiB = 1024;
    private const double MiB = KiB * 1024;
    private const double GiB = MiB * 1024;

    public static string Bytes(long bytes) => bytes switch
    {
        >= (long)GiB => Text($"{bytes / GiB:0.##} GiB"),
        >= (long)MiB => Text($"{bytes / MiB:0.#} MiB"),
        >= (long)KiB => Text($"{bytes / KiB:0.#} KiB"),
        _ => Text($"{bytes} B"),
    };

    public static string Time(double milliseconds) => milliseconds switch
    {
        >= 10_000 => Text($"{milliseconds / 1000:0.0} s"),
        >= 1000 => Text($"{milliseconds / 1000:0.00} s"),
        >= 100 => Text($"{milliseconds:0} ms"),
        >= 1 => Text($"{milliseconds:0.0} ms"),
        _ => Text($"{milliseconds:0.00} ms"),
    };

    public static string Seconds(double seconds) => Text($"{seconds:0.00} s");

    public static string Rate(double mibPerSecond) => Text($"{mibPerSecond:0.#} MiB/s");

    public static string Rounds(int rounds) => rounds == 1 ? "1 round" : $"{Count(rounds)} rounds";

    public static string Count(long count) => count.ToString("N0", CultureInfo.InvariantCulture);

    public static string Moment(DateTimeOffset moment) =>
        moment.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss.fff", CultureInfo.InvariantCulture);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
