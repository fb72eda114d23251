using System.Text.Json;

namespace Fabric.Cli.Api;

/// <summary>A resource, typed for us, and as it was sent, for <c>-o json</c>: a newer daemon's members pass through.</summary>
internal sealed record ApiReply<T>(T Value, JsonElement Json);
