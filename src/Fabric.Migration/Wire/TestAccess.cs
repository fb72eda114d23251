using System.Runtime.CompilerServices;

// Tests forge bytes, and for that need the numbers the contract gives to types.
[assembly: InternalsVisibleTo("Fabric.Migration.Tests")]
