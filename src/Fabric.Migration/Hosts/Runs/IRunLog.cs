namespace Fabric.Migration.Hosts.Runs;

/// <summary>Where a host tells which claims run on which of its functions, and from which step to which.</summary>
public interface IRunLog
{
    /// <summary>On any thread; what was told before is kept before it.</summary>
    void Tell(RunRecord record);
}
