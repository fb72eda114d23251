namespace Fabric.Hardware.Emulated.Config;

/// <summary>One register of config space as data.</summary>
/// <param name="Offset">Bytes from the start of the header or of its capability.</param>
/// <param name="Width">Bytes: 1, 2 or 4.</param>
/// <param name="Value">What it holds at power-on.</param>
/// <param name="Writable">Bits that take what is written.</param>
/// <param name="ClearedByOne">Bits that a one clears (RW1C).</param>
/// <param name="Sticky">Bits that a reset leaves alone; only loss of power clears them (PCIe 6.0, 7.4: ROS, RWS, RW1CS).</param>
internal readonly record struct RegisterRow(int Offset, int Width, uint Value = 0, uint Writable = 0, uint ClearedByOne = 0, uint Sticky = 0);
