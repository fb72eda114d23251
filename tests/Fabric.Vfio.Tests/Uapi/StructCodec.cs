using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Fabric.Vfio.Uapi;

namespace Fabric.Vfio.Tests.Uapi;

/// <summary>The codec of a structure whose type is data, so that one test serves every row of the table.</summary>
public abstract class StructCodec
{
    private readonly Type type;

    protected StructCodec(Type type) => this.type = type;

    /// <summary>Every structure of the uAPI.</summary>
    public static IReadOnlyList<StructCodec> All { get; } =
        [.. typeof(UapiCodec).Assembly.GetTypes().Where(type => type.IsValueType && Implements(type, typeof(IUapiStruct<>))).Select(Of)];

    public static IEnumerable<RequestCodec> Requests => All.OfType<RequestCodec>();

    public string Name => type.Name;

    public abstract int Size { get; }

    public abstract object? Read(ReadOnlySpan<byte> bytes);

    public abstract VfioResult Encode(object value, Span<byte> buffer);

    /// <summary>All that can be done with bytes that may be anything, without a box. False: they were refused.</summary>
    public abstract bool Take(byte[] bytes);

    public byte[] BytesOf(object value, string field)
    {
        var read = type.GetProperty(field)!.GetValue(value)!;
        return (byte[])typeof(StructCodec).GetMethod(nameof(Flatten), BindingFlags.Static | BindingFlags.NonPublic)!
            .MakeGenericMethod(read.GetType()).Invoke(null, [read])!;
    }

    /// <summary>The same value again, put together from its fields by name.</summary>
    public object Rebuild(object value)
    {
        var constructor = type.GetConstructors().MaxBy(one => one.GetParameters().Length)!;
        return constructor.Invoke([.. constructor.GetParameters().Select(one => type.GetProperty(Pascal(one.Name!))!.GetValue(value))]);
    }

    /// <summary>How a kernel's name is written here.</summary>
    public static string Pascal(string name) =>
        string.Concat(name.Split('_', StringSplitOptions.RemoveEmptyEntries).Select(word => char.ToUpperInvariant(word[0]) + word[1..]));

    public override string ToString() => Name;

    private static StructCodec Of(Type type)
    {
        var definition =
            Implements(type, typeof(IInfoReply<>)) ? typeof(InfoCodec<>) :
            Implements(type, typeof(IUapiRequest<>)) ? typeof(RequestCodec<>) :
            Implements(type, typeof(IFeaturePayload<>)) ? typeof(PayloadCodec<>) :
            typeof(StructCodec<>);
        return (StructCodec)Activator.CreateInstance(definition.MakeGenericType(type))!;
    }

    private static bool Implements(Type type, Type contract) =>
        type.GetInterfaces().Any(one => one.IsGenericType && one.GetGenericTypeDefinition() == contract);

    private static byte[] Flatten<TField>(TField value) where TField : unmanaged => MemoryMarshal.AsBytes([value]).ToArray();
}

/// <summary>The codec of a request: a structure that says its own size.</summary>
public abstract class RequestCodec(Type type) : StructCodec(type)
{
    public int MinSize { get; protected init; }

    public bool IsExtensible { get; protected init; }

    public abstract Errno Decode(ReadOnlySpan<byte> request, out object value);

    public abstract VfioError Refusal(ReadOnlySpan<byte> request);

    public abstract VfioResult EncodeReply(object value, Span<byte> buffer, uint argsz);

    /// <summary>A whole request that no check refuses, with an argsz; bytes past the structure are zero.</summary>
    public byte[] Sample(uint argsz)
    {
        var request = new byte[Math.Max(Math.Max(argsz, (uint)Size), 8)];
        MemoryMarshal.Write(request, argsz);
        MemoryMarshal.Write<uint>(request.AsSpan(sizeof(uint)), Name switch
        {
            nameof(VfioIrqSet) => (uint)IrqSetFlags.DataNone,
            nameof(VfioIommuType1DirtyBitmap) => (uint)DirtyPagesFlags.Start,
            nameof(VfioDeviceIoeventfd) => (uint)IoeventfdWidth.One,
            _ => 0,
        });
        return request;
    }
}

internal sealed class StructCodec<T>() : StructCodec(typeof(T)) where T : unmanaged, IUapiStruct<T>
{
    public override int Size => Unsafe.SizeOf<T>();

    public override object? Read(ReadOnlySpan<byte> bytes) => UapiCodec.TryRead<T>(bytes, out var value) ? value : null;

    public override VfioResult Encode(object value, Span<byte> buffer) => ((T)value).Encode(buffer);

    public override bool Take(byte[] bytes) => UapiCodec.TryRead<T>(bytes, out var value) && value.Encode(bytes).IsOk;
}

internal class RequestCodec<T> : RequestCodec where T : unmanaged, IUapiRequest<T>
{
    public RequestCodec()
        : base(typeof(T)) => (MinSize, IsExtensible) = (T.MinSize, T.IsExtensible);

    public override int Size => Unsafe.SizeOf<T>();

    public override object? Read(ReadOnlySpan<byte> bytes) => UapiCodec.TryRead<T>(bytes, out var value) ? value : null;

    public override VfioResult Encode(object value, Span<byte> buffer) => ((T)value).Encode(buffer);

    public override Errno Decode(ReadOnlySpan<byte> request, out object value)
    {
        var decoded = UapiCodec.Decode<T>(request);
        value = decoded.IsOk ? decoded.Value : default;
        return decoded.Error.Errno;
    }

    public override VfioError Refusal(ReadOnlySpan<byte> request) => UapiCodec.Decode<T>(request).Error;

    public override VfioResult EncodeReply(object value, Span<byte> buffer, uint argsz) => ((T)value).EncodeReply(buffer, argsz);

    public override bool Take(byte[] bytes)
    {
        UapiCodec.Tail<T>(bytes);
        UapiCodec.DecodeReply<T>(bytes);
        var decoded = UapiCodec.Decode<T>(bytes);
        return decoded.IsOk && decoded.Value.EncodeReply(bytes, (uint)bytes.Length).IsOk;
    }
}

internal sealed class InfoCodec<T> : RequestCodec<T> where T : unmanaged, IInfoReply<T>
{
    public override bool Take(byte[] bytes)
    {
        var chain = InfoReply.DecodeCapabilities<T>(bytes);
        return base.Take(bytes) && chain.IsOk && default(T).EncodeReply(bytes, (uint)bytes.Length, chain.Value.AsSpan()).IsOk;
    }
}

internal sealed class PayloadCodec<T>() : StructCodec(typeof(T)) where T : unmanaged, IFeaturePayload<T>
{
    public override int Size => Unsafe.SizeOf<T>();

    public override object? Read(ReadOnlySpan<byte> bytes) => UapiCodec.TryRead<T>(bytes, out var value) ? value : null;

    public override VfioResult Encode(object value, Span<byte> buffer) => ((T)value).Encode(buffer);

    public override bool Take(byte[] bytes)
    {
        var decoded = FeatureCodec.DecodePayload<T>(bytes);
        return decoded.IsOk && decoded.Value.EncodePayload(bytes, (uint)bytes.Length).IsOk;
    }
}
