namespace Fabric.Cli.Output;

/// <summary>Where work in progress is shown, a row for each thing that moves.</summary>
internal interface IBoard
{
    /// <param name="row">Names the row; the first call adds it.</param>
    /// <param name="fraction">0 to 1, or null while there is no telling.</param>
    /// <param name="stage">What it is at, such as <c>pre-copy</c>: a change is always worth a line.</param>
    /// <param name="detail">Figures that change all the time.</param>
    /// <param name="ended">Nothing more will come, though the way is not gone to its end.</param>
    void Set(string row, double? fraction, string stage, string detail = "", bool ended = false);
}
