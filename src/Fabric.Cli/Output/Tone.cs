namespace Fabric.Cli.Output;

/// <summary>What a piece of text means; a terminal shows it as a colour, a pipe not at all, so words must carry it too.</summary>
internal enum Tone
{
    Normal,
    Strong,
    Quiet,
    Good,
    Warning,
    Bad,
}
