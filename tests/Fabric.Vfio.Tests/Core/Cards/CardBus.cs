using Fabric.Pci;

namespace Fabric.Vfio.Tests.Core.Cards;

/// <summary>A bus of cards: which functions there are, which of them a hot reset touches together, and what becomes of one.</summary>
internal sealed class CardBus : IPciBus
{
    private readonly List<IPciFunction> functions = [];

    public CardBus(params IEnumerable<CardFunction> cards)
    {
        foreach (var card in cards)
            Add(card);
    }

    public IReadOnlyList<IPciFunction> Functions => functions;

    /// <summary>Addresses that share a hot reset; null for none.</summary>
    public HotResetScope? Scope { get; set; }

    public Errno OnHotReset { get; set; }

    public int HotResets { get; private set; }

    /// <summary>The interrupts of a VF that is made.</summary>
    public Func<IFunctionInterrupts> VirtualInterrupts { get; init; } = () => NoInterrupts.Instance;

    public IEnumerable<CardFunction> Cards => functions.OfType<CardFunction>();

    public static CardBus OneSlot(params CardFunction[] cards) => new(cards) { Scope = SlotOf(cards) };

    public static HotResetScope SlotOf(params CardFunction[] cards) => new(HotResetKind.Slot, [.. cards.Select(card => card.Address)]);

    public void Add(CardFunction card)
    {
        card.Bus = this;
        functions.Add(card);
    }

    public IReadOnlyList<PciAddress> RecoveryScope(PciAddress source) => [source];

    public VfioResult ResetLink(PciAddress source) => VfioResult.Ok;

    public HotResetScope? HotResetScopeOf(PciAddress function) => Scope?.Affected.Contains(function) == true ? Scope : null;

    public VfioResult HotReset(PciAddress function)
    {
        if (OnHotReset != Errno.None)
            return VfioResult.Fail(OnHotReset, "The bus does not reset.");
        HotResets++;
        foreach (var card in Cards.Where(card => Scope!.Affected.Contains(card.Address)))
        {
            card.MeetSet("hot-reset");
            card.LoseEverything();
        }

        return VfioResult.Ok;
    }

    public void ReportTo(Action<BusEvent> sink)
    {
    }

    public void SetVirtualFunctions(CardFunction physical, int count)
    {
        functions.RemoveAll(function => function.PhysicalFunction == physical.Address);
        for (var i = 1; i <= count; i++)
        {
            var address = physical.Address with { Device = (byte)(physical.Address.Device + 16), Function = (byte)i };
            Add(new CardFunction(address, FunctionTraits.VirtualFunction) { PhysicalFunction = physical.Address, Interrupts = VirtualInterrupts() });
        }
    }
}
