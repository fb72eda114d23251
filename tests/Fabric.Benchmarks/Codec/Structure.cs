using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Vfio;
using Fabric.Vfio.Uapi;

namespace Fabric.Benchmarks.Codec;

/// <summary>A structure of the uAPI with bytes that its codec accepts.</summary>
public abstract class Structure
{
    private readonly string name;

    private protected Structure(Type type) => name = type.Name;

    /// <summary>All there are: a new row of the tables is measured with the others.</summary>
    public static IReadOnlyList<Structure> All { get; } =
        [.. typeof(UapiCodec).Assembly.GetTypes().Where(type => type.IsValueType && Is(type, typeof(IUapiStruct<>))).OrderBy(type => type.Name).Select(Of)];

    /// <summary>False: the bytes were refused.</summary>
    public abstract bool Decode();

    public abstract bool Encode();

    public override string ToString() => name;

    private static Structure Of(Type type)
    {
        var codec = Is(type, typeof(IUapiRequest<>)) ? typeof(Request<>) : Is(type, typeof(IFeaturePayload<>)) ? typeof(Payload<>) : typeof(Bare<>);
        return (Structure)Activator.CreateInstance(codec.MakeGenericType(type))!;
    }

    private static bool Is(Type type, Type contract) =>
        type.GetInterfaces().Any(one => one.IsGenericType && one.GetGenericTypeDefinition() == contract);

    private sealed class Request<T> : Structure where T : unmanaged, IUapiRequest<T>
    {
        private readonly byte[] bytes = new byte[Unsafe.SizeOf<T>()];
        private VfioResult<T> decoded;

        public Request()
            : base(typeof(T))
        {
            MemoryMarshal.Write(bytes, (uint)bytes.Length);
            if (Flags != 0)
                MemoryMarshal.Write(bytes.AsSpan(sizeof(uint)), Flags);
        }

        /// <summary>The second word of those that must say something.</summary>
        private static uint Flags => default(T) switch
        {
            VfioIrqSet => (uint)IrqSetFlags.DataNone,
            VfioIommuType1DirtyBitmap => (uint)DirtyPagesFlags.Start,
            VfioDeviceIoeventfd => (uint)IoeventfdWidth.One,
            _ => 0,
        };

        public override bool Decode() => (decoded = UapiCodec.Decode<T>(bytes)).IsOk;

        public override bool Encode() => decoded.Value.EncodeReply(bytes, (uint)bytes.Length).IsOk;
    }

    private sealed class Payload<T> : Structure where T : unmanaged, IFeaturePayload<T>
    {
        private readonly byte[] bytes = new byte[Unsafe.SizeOf<VfioDeviceFeature>() + Unsafe.SizeOf<T>()];
        private VfioResult<T> decoded;

        public Payload()
            : base(typeof(T)) => Sample.EncodePayload(bytes, (uint)bytes.Length);

        /// <summary>What says something, for those that must.</summary>
        private static T Sample => default(T) switch
        {
            VfioDeviceFeatureDmaBuf => (T)(object)new VfioDeviceFeatureDmaBuf(RegionIndex: 0, OpenFlags: 0, Flags: 0, NrRanges: 1),
            VfioDeviceFeatureDmaLoggingControl => (T)(object)new VfioDeviceFeatureDmaLoggingControl(PageSize: 4096, NumRanges: 1, Reserved: 0, Ranges: 0),
            VfioDeviceFeatureDmaLoggingReport => (T)(object)new VfioDeviceFeatureDmaLoggingReport(Iova: 0, Length: 4096, PageSize: 4096, Bitmap: 0),
            _ => default,
        };

        public override bool Decode() => (decoded = FeatureCodec.DecodePayload<T>(bytes)).IsOk;

        public override bool Encode() => decoded.Value.EncodePayload(bytes, (uint)bytes.Length).IsOk;
    }

    private sealed class Bare<T>() : Structure(typeof(T)) where T : unmanaged, IUapiStruct<T>
    {
        private readonly byte[] bytes = new byte[Unsafe.SizeOf<T>()];
        private T decoded;

        public override bool Decode() => UapiCodec.TryRead(bytes, out decoded);

        public override bool Encode() => decoded.Encode(bytes).IsOk;
    }
}
