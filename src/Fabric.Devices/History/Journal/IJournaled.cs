using Google.Protobuf;

namespace Fabric.Devices.History.Journal;

/// <summary>What is kept in the journal or the snapshot store; the layouts are in devices.proto.</summary>
internal interface IJournaled : IMessage;

internal sealed partial class EntryNoted : IJournaled;

internal sealed partial class StandingChanged : IJournaled;

internal sealed partial class HistorySnapshot : IJournaled;
