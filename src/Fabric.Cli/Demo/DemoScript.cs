using Fabric.Cli.Demo.Acts;

namespace Fabric.Cli.Demo;

/// <summary>The acts in their order. An act that leaves nothing to go on from throws <see cref="CommandFailure"/>.</summary>
internal static class DemoScript
{
    public static async Task PlayAsync(Stage stage, CancellationToken cancellation)
    {
        await GatheringAct.PlayAsync(stage, cancellation);
        await ConsumerAct.PlayAsync(stage, cancellation);
        await CleanMigrationAct.PlayAsync(stage, cancellation);
        await KilledTargetAct.PlayAsync(stage, cancellation);
        await KilledControlAct.PlayAsync(stage, cancellation);
        await DeviceErrorAct.PlayAsync(stage, cancellation);
        await ClosingAct.PlayAsync(stage, cancellation);
        stage.Record.IsComplete = true;
    }
}
