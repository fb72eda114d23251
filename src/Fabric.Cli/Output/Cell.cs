namespace Fabric.Cli.Output;

/// <summary>One field of a <see cref="Sheet"/>.</summary>
internal readonly record struct Cell(string Text, Tone Tone = Tone.Normal)
{
    public static implicit operator Cell(string? text) => new(string.IsNullOrEmpty(text) ? "-" : text);
}
