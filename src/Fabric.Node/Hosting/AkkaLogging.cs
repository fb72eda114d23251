namespace Fabric.Node.Hosting;

/// <summary>Actors log where everything else of the daemon logs.</summary>
internal static class AkkaLogging
{
    public const string Hocon = """
        akka {
          loglevel = INFO
          stdout-loglevel = WARNING
          log-dead-letters = off
          log-dead-letters-during-shutdown = off
          loggers = ["Akka.Hosting.Logging.LoggerFactoryLogger, Akka.Hosting"]
          coordinated-shutdown.exit-clr = off
          coordinated-shutdown.run-by-clr-shutdown-hook = off
        }
        """;
}
