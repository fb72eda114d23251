namespace Fabric.Hardware.Specs.Qat;

/// <summary>
/// What the PF's driver does to migrate a VF (kernel: qat_vfmig_*). A command: operation u32, bytes that follow u32, those bytes. A reply: a Linux
/// errno u32 (0 done), bytes that follow u32, those bytes.
/// </summary>
public static class QatMigration
{
    public const string Protocol = "qat";
    public const int HeaderBytes = 8;

    /// <summary>Bytes of a VF's state, whatever it holds (VD-QAT-2).</summary>
    public const int StateBytes = 4096;

    /// <summary>Bytes of it that are the set-up, and come first.</summary>
    public const int SetupBytes = 64;
}

public enum QatOperation : uint
{
    /// <summary>Takes the VF for migration. Reply: u32, 1 where it was found suspended.</summary>
    Open = 1,
    Close = 2,

    /// <summary>The VF was reset: it runs, and what was saved or loaded of it is forgotten.</summary>
    Reset = 3,

    /// <summary>No job runs; all registers work on, and what is submitted waits (VD-QAT-3).</summary>
    Suspend = 4,

    /// <summary>Jobs that wait run.</summary>
    Resume = 5,

    /// <summary>Reply: the set-up.</summary>
    SaveSetup = 6,

    /// <summary>Reply: all of the state, the set-up first. EBUSY unless it is suspended.</summary>
    SaveState = 7,

    /// <summary>
    /// Follow: all of a state that there is so far. EAGAIN while its set-up is not complete; EINVAL as soon as it is known that the VF cannot become
    /// its source.
    /// </summary>
    LoadSetup = 8,

    /// <summary>Follow: all of a state. EINVAL for one that is none, EBUSY unless the VF is suspended; with nothing changed.</summary>
    LoadState = 9,
}

/// <summary>
/// The state, in the manner of the kernel's adf_mstate: two blocks, set-up and state, each a preamble and sections, zeros behind them. A preamble:
/// magic u32, version u16, its own length u16, sections u16, 2 reserved, bytes of the sections u32, their checksum u32 (CRC-32C, which the kernel
/// has not), 4 reserved. A section: name of 8 characters, bytes u32, 4 reserved, those bytes.
/// </summary>
public static class QatState
{
    public const uint Magic = 0xadf5_caea;
    public const ushort Version = 1;
    public const int PreambleBytes = 24;
    public const int SectionBytes = 16;

    /// <summary>Capabilities u32, services u32, service level u32 (jobs a second, in thousands), banks u16, 2 reserved.</summary>
    public const string Setup = "CONFIG";
    public const int SetupPayload = 16;

    /// <summary>Each bank's registers as they lie in its BAR.</summary>
    public const string Rings = "ETRBAR";
    public const int BankPayload = QatBank.ResponseTail + 4;

    /// <summary>Registers of BAR 2.</summary>
    public const string Misc = "MISCBAR";
    public const int MiscPayload = 8;
}
