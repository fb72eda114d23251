using Fabric.Pci;

namespace Fabric.Vfio.Files;

/// <summary>What GROUP_GET_DEVICE_FD names (LC-10): the device's address as the kernel prints it, then options, each behind a space.</summary>
internal static class DeviceName
{
    private const string TokenOption = "vf_token=";
    private const int UuidLength = 36;

    /// <summary>
    /// Whether a name means a device: null where it does not, else its token, or none. Errors: EINVAL for an option that is unknown, cut short or
    /// given twice.
    /// </summary>
    public static VfioResult<DeviceOptions?> Match(ReadOnlySpan<char> name, PciAddress device)
    {
        var address = device.ToString();
        if (!name.StartsWith(address, StringComparison.Ordinal))
            return (DeviceOptions?)null;
        var options = name[address.Length..];
        if (!options.IsEmpty && options[0] != ' ')
            return (DeviceOptions?)null;
        Guid? token = null;
        while (!(options = options.TrimStart(' ')).IsEmpty)
        {
            if (token is not null || !options.StartsWith(TokenOption, StringComparison.Ordinal))
                return new VfioError(Errno.EINVAL, "GROUP_GET_DEVICE_FD: an option is not known, or given twice; the only one is vf_token.");
            options = options[TokenOption.Length..];
            if (options.Length < UuidLength || !Guid.TryParseExact(options[..UuidLength], "D", out var uuid))
                return new VfioError(Errno.EINVAL, "GROUP_GET_DEVICE_FD: vf_token takes a UUID of 36 characters.");
            token = uuid;
            options = options[UuidLength..];
        }

        return new DeviceOptions(token);
    }
}

/// <param name="Token">The VF token (LC-41); null without one.</param>
internal readonly record struct DeviceOptions(Guid? Token);
