using System.Threading.Channels;
using Microsoft.Extensions.Logging;

namespace Fabric.Migration.Tests.DataPlane;

/// <summary>A logger whose messages a test can await.</summary>
internal sealed class LogCapture : ILogger
{
    private readonly Channel<string> _messages = Channel.CreateUnbounded<string>();

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _messages.Writer.TryWrite(formatter(state, exception));

    public async Task<string> NextAsync(string containing, CancellationToken cancellationToken)
    {
        while (true)
        {
            var message = await _messages.Reader.ReadAsync(cancellationToken);
            if (message.Contains(containing, StringComparison.Ordinal))
                return message;
        }
    }
}
