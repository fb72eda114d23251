using System.Collections.Immutable;

namespace Fabric.Vfio.Core;

/// <summary>A part of a BAR, in bytes.</summary>
public readonly record struct DmaBufRange(ulong Offset, ulong Length);

/// <summary>Who reaches a device's memory through a <see cref="DmaBuf"/>: another device, or an IOMMU.</summary>
public interface IDmaBufImporter
{
    bool SupportsPeerToPeer { get; }

    /// <summary>Whether it lets go when it is told to.</summary>
    bool SupportsRevocation { get; }

    /// <summary>What it has mapped is gone: it has let go when this returns.</summary>
    void Revoked();
}

/// <summary>
/// Parts of a BAR, exported for direct access by others (contract §2.10). Revoked whenever the memory cannot be used, for good when the
/// device is closed (IO-91, IO-92). Safe to use from an importer's own thread.
/// </summary>
public sealed class DmaBuf
{
    private readonly Lock gate = new();
    private readonly List<Attachment> attachments = [];
    private readonly Action<DmaBuf> returned;
    private bool revoked;
    private bool ended;
    private bool released;

    /// <param name="memory">The whole BAR.</param>
    /// <param name="returned">Told once when nobody holds the buffer any more.</param>
    internal DmaBuf(int bar, ImmutableArray<DmaBufRange> ranges, bool bornRevoked, RegionMapping memory, Action<DmaBuf> returned)
    {
        Bar = bar;
        Ranges = ranges;
        revoked = bornRevoked;
        Memory = memory;
        this.returned = returned;
    }

    /// <summary>The BAR as its importers reach it: refused while memory cannot be used, whatever they have mapped.</summary>
    internal RegionMapping Memory { get; }

    public int Bar { get; }

    public ImmutableArray<DmaBufRange> Ranges { get; }

    public bool IsRevoked
    {
        get
        {
            lock (gate)
                return revoked;
        }
    }

    /// <summary>The device was closed since: it never comes back (IO-91).</summary>
    public bool IsDetached
    {
        get
        {
            lock (gate)
                return ended;
        }
    }

    /// <summary>Errors: EOPNOTSUPP where the importer lacks peer-to-peer or revocation, ENODEV while revoked (IO-91).</summary>
    public VfioResult<DmaBufAttachment> Attach(IDmaBufImporter importer)
    {
        ArgumentNullException.ThrowIfNull(importer);
        if (!importer.SupportsPeerToPeer || !importer.SupportsRevocation)
            return new VfioError(Errno.EOPNOTSUPP, "The importer of device memory must support peer-to-peer and revocation.");
        lock (gate)
        {
            if (revoked)
                return Unusable;
            var attachment = new Attachment(this, importer);
            attachments.Add(attachment);
            return attachment;
        }
    }

    /// <summary>
    /// The last descriptor of the buffer is closed: with the last attachment it is gone, and returns its reference to the device (IO-92).
    /// </summary>
    public void Release()
    {
        lock (gate)
        {
            if (released)
                return;
            released = true;
        }

        ReturnIfUnused();
    }

    private void ReturnIfUnused()
    {
        lock (gate)
        {
            if (!released || attachments.Count > 0)
                return;
        }

        returned(this);
    }

    internal void Revoke()
    {
        lock (gate)
        {
            if (revoked)
                return;
            revoked = true;
            foreach (var attachment in attachments.ToArray())
                attachment.Revoke();
        }
    }

    internal void Restore()
    {
        lock (gate)
            revoked = ended;
    }

    internal void End()
    {
        Revoke();
        lock (gate)
            ended = true;
    }

    private static VfioError Unusable => new(Errno.ENODEV, "The buffer is revoked: its device's memory is off, or the device is closed.");

    private sealed class Attachment(DmaBuf buffer, IDmaBufImporter importer) : DmaBufAttachment
    {
        private bool mapped;

        public override bool IsMapped
        {
            get
            {
                lock (buffer.gate)
                    return mapped;
            }
        }

        public override VfioResult<ImmutableArray<DmaBufRange>> Map()
        {
            lock (buffer.gate)
            {
                if (buffer.revoked)
                    return Unusable;
                mapped = true;
                return buffer.Ranges;
            }
        }

        public override void Unmap()
        {
            lock (buffer.gate)
                mapped = false;
        }

        public override void Detach()
        {
            lock (buffer.gate)
            {
                mapped = false;
                buffer.attachments.Remove(this);
            }

            buffer.ReturnIfUnused();
        }

        public void Revoke()
        {
            mapped = false;
            importer.Revoked();
        }
    }
}

/// <summary>One importer's hold on a <see cref="DmaBuf"/>.</summary>
public abstract class DmaBufAttachment
{
    private protected DmaBufAttachment()
    {
    }

    public abstract bool IsMapped { get; }

    /// <summary>Errors: ENODEV while revoked (IO-91).</summary>
    public abstract VfioResult<ImmutableArray<DmaBufRange>> Map();

    public abstract void Unmap();

    public abstract void Detach();
}
