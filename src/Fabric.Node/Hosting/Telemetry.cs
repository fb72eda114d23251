using Fabric.Migration.Tracing;
using Fabric.Node.Configuration;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Fabric.Node.Hosting;

/// <summary>Sends the spans of migrations to a collector, where one is named; else nobody listens, and there are none.</summary>
internal static class Telemetry
{
    public static void AddTelemetry(this IServiceCollection services, FabricSettings settings)
    {
        if (settings.Telemetry.Otlp.Length == 0)
            return;
        services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService("fabricd", serviceInstanceId: settings.Node.Name))
            .WithTracing(tracing => tracing
                .AddSource(MigrationTracing.SourceName)
                .AddOtlpExporter(exporter => exporter.Endpoint = new Uri(settings.Telemetry.Otlp)));
    }
}
