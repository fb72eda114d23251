namespace Fabric.Vfio;

/// <summary>Why a request failed: a Linux errno, and a sentence that names the cause and what to do.</summary>
public readonly record struct VfioError(Errno Errno, string Sentence)
{
    public override string ToString() => $"{Errno}: {Sentence}";
}

/// <summary>Success, or a <see cref="VfioError"/>. Sentences are literals, so that a refusal allocates nothing.</summary>
public readonly record struct VfioResult
{
    private VfioResult(VfioError error) => Error = error;

    public static VfioResult Ok => default;

    public VfioError Error { get; }

    public bool IsOk => Error.Errno == Errno.None;

    public static VfioResult Fail(Errno errno, string sentence) => new(new VfioError(errno, sentence));

    /// <summary>A value of an interface's type, which does not convert by itself.</summary>
    public static VfioResult<T> Of<T>(T value) => value;

    public static implicit operator VfioResult(VfioError error) => new(error);
}

/// <summary>A value, or a <see cref="VfioError"/>.</summary>
public readonly record struct VfioResult<T>
{
    private readonly T value;

    private VfioResult(T value, VfioError error)
    {
        this.value = value;
        Error = error;
    }

    public VfioError Error { get; }

    public bool IsOk => Error.Errno == Errno.None;

    /// <summary>The value of a success.</summary>
    /// <exception cref="InvalidOperationException">The request failed; look at <see cref="Error"/>.</exception>
    public T Value => IsOk ? value : throw new InvalidOperationException(Error.ToString());

    public static implicit operator VfioResult<T>(T value) => new(value, default);
    public static implicit operator VfioResult<T>(VfioError error) => new(default!, error);
}
