namespace Fabric.Hardware.Specs.Zpci;

/// <summary>
/// What an s390 host's firmware (CLP, query PCI function and query PCI function group) tells of a function, as the properties of its platform.
/// </summary>
public static class ZpciProperties
{
    /// <summary>u64: first and last DMA address that the function can be given.</summary>
    public const string StartDma = "zpci,start-dma";
    public const string EndDma = "zpci,end-dma";

    /// <summary>u16: physical channel, virtual function number, bytes of a measurement block.</summary>
    public const string Pchid = "zpci,pchid";
    public const string Vfn = "zpci,vfn";
    public const string FmbLength = "zpci,fmb-length";

    /// <summary>u8: function type, group.</summary>
    public const string Pft = "zpci,pft";
    public const string Gid = "zpci,gid";

    /// <summary>u32: function handle.</summary>
    public const string FunctionHandle = "zpci,fh";

    /// <summary>Of the group. u64: DMA address space mask, MSI address.</summary>
    public const string Dasm = "zpci,dasm";
    public const string MsiAddress = "zpci,msi-addr";

    /// <summary>1 where TLB refresh is there.</summary>
    public const string Refresh = "zpci,refresh";

    /// <summary>u16: measurement update interval, number of interrupts, longest store block in bytes.</summary>
    public const string Mui = "zpci,mui";
    public const string Noi = "zpci,noi";
    public const string MaxStoreBlock = "zpci,maxstbl";

    /// <summary>u8.</summary>
    public const string Version = "zpci,version";

    /// <summary>Bytes: utility string, in EBCDIC, and the internal path.</summary>
    public const string UtilityString = "zpci,util-str";
    public const string Path = "zpci,pfip";
}
