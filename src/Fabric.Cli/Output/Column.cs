namespace Fabric.Cli.Output;

/// <summary>A heading. Numbers are aligned to the right.</summary>
internal sealed record Column(string Heading, bool Number = false)
{
    public static implicit operator Column(string heading) => new(heading);

    public static Column OfNumbers(string heading) => new(heading, Number: true);
}
