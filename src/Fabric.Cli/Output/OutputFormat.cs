namespace Fabric.Cli.Output;

internal enum OutputFormat
{
    Table,
    Json,
}
