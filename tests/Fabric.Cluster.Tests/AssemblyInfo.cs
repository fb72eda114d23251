using Fabric.Cluster.Tests.Processes;
using Xunit.Sdk;
using Xunit.v3;

// Every test runs several processes: side by side they would only wait for one another.
[assembly: Parallelization(Mode = ParallelMode.None)]
[assembly: AssemblyFixture(typeof(PrivatePostgres))]
