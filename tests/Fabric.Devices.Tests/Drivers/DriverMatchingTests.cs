using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Akka.Actor;
using CsCheck;
using Fabric.Devices.Drivers;
using Fabric.Pci;

namespace Fabric.Devices.Tests.Drivers;

/// <summary>Which driver comes first for a function: the rules one by one, and all of them against module aliases and their globs.</summary>
public sealed class DriverMatchingTests
{
    private static readonly PciIds Function = new(0x15b3, 0x101e, 0x15b3, 0x0001, 0x020000);

    // ---- Without driver_override -----------------------------------------------------------------------------------------------------

    [Fact]
    public void The_most_specific_id_comes_first_whatever_the_priority_VD_0() => Assert.Equal(
        ["exact", "kind", "vendor", "all"],
        Ranked(null, Driver("all", "*:*", 9), Driver("vendor", "15b3:*", 5), Driver("exact", "15b3:101e:15b3:0001"), Driver("kind", "15b3:101e", 1)));

    [Fact]
    public void Of_equally_specific_ones_the_priority_decides() =>
        Assert.Equal(["b", "a"], Ranked(null, Driver("a", "15b3:101e", 1), Driver("b", "15b3:*/02xxxx", 2)));

    [Fact]
    public void Of_equal_priority_the_name_decides() =>
        Assert.Equal(["a", "b"], Ranked(null, Driver("b", "15b3:101e"), Driver("a", "15b3:101e")));

    [Fact]
    public void A_drivers_best_id_counts() =>
        Assert.Equal(["many", "one"], Ranked(null, Driver("one", "15b3:*"), Driver("many", "*:* 15b3:101e 8086:*")));

    [Fact]
    public void An_id_for_overrides_alone_is_passed_over_and_said_VD_0()
    {
        var ranking = new DriverCatalog(Driver("shy", "vfio_pci:15b3:101e"), Driver("bold", "15b3:*")).Rank(Function, null);

        Assert.Equal(["bold"], ranking.Candidates.Select(candidate => candidate.Driver.Name));
        Assert.Equal([new DriverPassedOver("shy", "it is taken only where driver_override names it", false)], ranking.OnlyByOverride);
    }

    // ---- With driver_override --------------------------------------------------------------------------------------------------------

    [Fact]
    public void It_names_the_only_one() =>
        Assert.Equal(["vendor"], Ranked("vendor", Driver("vendor", "15b3:*"), Driver("exact", "15b3:101e:15b3:0001")));

    [Fact]
    public void It_brings_a_driver_to_a_function_that_it_does_not_match() => Assert.Equal(["other"], Ranked("other", Driver("other", "8086:*"), Driver("kind", "15b3:101e")));

    [Fact]
    public void It_makes_an_id_count_that_does_not_else_VD_0() => Assert.Equal(["shy"], Ranked("shy", Driver("shy", "vfio_pci:15b3:101e")));

    [Fact]
    public void It_leaves_a_function_to_nobody_where_that_driver_is_not_there()
    {
        var ranking = new DriverCatalog(Driver("kind", "15b3:101e")).Rank(Function, "other");

        Assert.Empty(ranking.Candidates);
        Assert.False(ranking.EndsWithCore);
    }

    [Fact]
    public void A_bus_that_asks_for_the_core_alone_has_no_driver_bound_and_each_that_matches_is_told_of()
    {
        var ranking = new DriverCatalog(Driver("kind", "15b3:101e")).Rank(Function, driverOverride: null, wanted: "vfio-pci");

        Assert.Empty(ranking.Candidates);
        Assert.True(ranking.EndsWithCore);
        Assert.Equal("kind", Assert.Single(ranking.Explain(null, []).PassedOver).Driver);
    }

    [Fact]
    public void Driver_override_goes_before_what_the_bus_asks_for()
    {
        var ranking = new DriverCatalog(Driver("kind", "15b3:101e")).Rank(Function, "kind", wanted: "vfio-pci");

        Assert.Equal("kind", Assert.Single(ranking.Candidates).Driver.Name);
    }

    [Fact]
    public void It_leaves_a_function_to_the_core_where_it_names_vfio_pci()
    {
        var ranking = new DriverCatalog(Driver("kind", "15b3:101e")).Rank(Function, "vfio-pci");

        Assert.Empty(ranking.Candidates);
        Assert.True(ranking.EndsWithCore);
    }

    // ---- In front of another ---------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_driver_is_given_the_one_that_it_stands_in_front_of_by_its_name()
    {
        var catalog = new DriverCatalog(Driver("front", "15b3:101e", 1) with { InFrontOf = "middle" }, Driver("middle", "*:*") with { InFrontOf = "back" }, Driver("back", "*:*"));

        var best = catalog.Rank(Function, null).Candidates[0].Driver;

        Assert.Equal(["front", "middle", "back"], best.Stack.Select(driver => driver.Name));
    }

    [Fact]
    public void It_is_claimed_by_the_model_of_the_one_behind_where_it_has_none_of_its_own()
    {
        var catalog = new DriverCatalog(Driver("front", "15b3:101e") with { InFrontOf = "back" }, Driver("back", "8086:*") with { Model = "card" });

        Assert.Equal("card", catalog.Rank(Function, null).Candidates[0].Driver.Model);
    }

    [Theory]
    [InlineData("nobody", "it stands in front of nobody, which this host does not have")]
    [InlineData("round", "it stands in front of front, and that in front of it")]
    public void Where_that_one_is_not_there_or_stands_in_front_of_it_the_problem_is_said(string behind, string problem)
    {
        var front = Driver("front", "15b3:101e") with { InFrontOf = behind };
        var catalog = new DriverCatalog(front, Driver("round", "*:*") with { InFrontOf = "front" });

        Assert.Equal(problem, catalog.Problem(front));
        Assert.Null(catalog.Rank(Function, null).Candidates[0].Driver.Behind);
    }

    // ---- All of it -------------------------------------------------------------------------------------------------------------------

    /// <summary>
    /// The reference knows nothing of fields: it writes a function's modalias and the drivers' aliases as the kernel's tools do, compares them as globs,
    /// and counts wildcards as libvirt does. Masks that no alias can express are not in it; they have their own test.
    /// </summary>
    [Fact]
    public void Any_catalog_ranks_any_function_as_module_aliases_do_VD_0() =>
        Gen.Select(Gen.Select(DriverIds.Any.Array[0, 3], Gen.Int[0, 2]).Array[0, 6], DriverIds.Functions, Gen.Int[-1, 7]).Sample((tables, function, named) =>
        {
            var drivers = tables.Select((table, at) => new DriverRegistration(
                $"driver-{(char)('f' - at)}", [.. table.Item1.Where(HasAlias)], null, _ => Props.Empty)
            {
                Priority = table.Item2,
            }).ToArray();
            var name = named < 0 ? null : named < drivers.Length ? drivers[named].Name : "vfio-pci";

            var ranking = new DriverCatalog(drivers).Rank(function, name);

            Assert.Equal(Reference(drivers, function, name), ranking.Candidates.Select(candidate => candidate.Driver.Name));
        }, iter: 5000);

    [Fact]
    public void Any_class_and_mask_match_as_in_pci_match_one_device() => Gen.Select(DriverIds.Any, Gen.UInt[0, 0xffffff], Gen.UInt[0, 0xffffff]).Sample((id, mask, other) =>
    {
        var masked = new DriverId { Class = id.Class, ClassMask = mask };

        Assert.Equal(((masked.Class ^ other) & mask) == 0, masked.Matches(new PciIds(0, 0, 0, 0, other)));
    });

    private static IEnumerable<string> Reference(DriverRegistration[] drivers, PciIds function, string? name)
    {
        if (name is not null)
            return drivers.Where(driver => driver.Name == name).Select(static driver => driver.Name);
        var modalias = string.Create(
            CultureInfo.InvariantCulture,
            $"pci:v{function.Vendor:X8}d{function.Device:X8}sv{function.SubsystemVendor:X8}sd{function.Subsystem:X8}bc{function.Class >> 16:X2}sc{(function.Class >> 8) & 0xff:X2}i{function.Class & 0xff:X2}");
        var found = new List<(int Wildcards, int Priority, string Name)>();
        foreach (var driver in drivers)
        {
            var aliases = driver.Ids.Select(Alias).Where(alias => Glob(alias).IsMatch(modalias)).ToArray();
            if (aliases.Length > 0)
                found.Add((aliases.Min(static alias => alias.Count(static letter => letter == '*')), driver.Priority, driver.Name));
        }

        found.Sort(static (one, other) =>
            one.Wildcards != other.Wildcards ? one.Wildcards - other.Wildcards
            : one.Priority != other.Priority ? other.Priority - one.Priority
            : string.CompareOrdinal(one.Name, other.Name));
        return found.Select(static driver => driver.Name);
    }

    /// <summary>What override_only puts in front is in no function's modalias.</summary>
    private static string Alias(DriverId id)
    {
        var alias = new StringBuilder(id.OverrideOnly ? "vfio_pci:" : "pci:");
        foreach (var (name, field) in new[] { ("v", id.Vendor), ("d", id.Device), ("sv", id.SubsystemVendor), ("sd", id.Subsystem) })
            alias.Append(name).Append(field is null ? "*" : field.Value.ToString("X8", CultureInfo.InvariantCulture));
        foreach (var (name, shift) in new[] { ("bc", 16), ("sc", 8), ("i", 0) })
            alias.Append(name).Append(((id.ClassMask >> shift) & 0xff) == 0 ? "*" : ((id.Class >> shift) & 0xff).ToString("X2", CultureInfo.InvariantCulture));
        return alias.ToString();
    }

    private static bool HasAlias(DriverId id) => new[] { 16, 8, 0 }.All(shift => ((id.ClassMask >> shift) & 0xff) is 0 or 0xff);

    private static Regex Glob(string alias) => new($"^{Regex.Escape(alias).Replace("\\*", ".*")}$");

    private static IEnumerable<string> Ranked(string? named, params DriverRegistration[] drivers) =>
        new DriverCatalog(drivers).Rank(Function, named).Candidates.Select(static candidate => candidate.Driver.Name);

    private static DriverRegistration Driver(string name, string ids, int priority = 0) => new(
        name, [.. ids.Split(' ').Select(static text => DriverId.TryParse(text, out var id) ? id : throw new ArgumentException(text))], null, _ => Props.Empty)
    {
        Priority = priority,
    };
}
