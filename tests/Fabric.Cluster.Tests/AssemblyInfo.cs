using Fabric.Cluster.Tests.Processes;
using Xunit.Sdk;
using Xunit.v3;

// Every test runs several processes and mostly waits for them: two at once take half the time, more would only wait for one another.
[assembly: Parallelization(Mode = ParallelMode.Collections, MaxThreads = 2)]
[assembly: AssemblyFixture(typeof(PrivatePostgres))]
