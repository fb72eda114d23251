# shellcheck shell=bash
# A Debian tree of a folder's own with QEMU in it, for the scripts that boot guests; sourced by them. What the machine has installed is left alone,
# and may be older. The caller sets `root`, the tree, and `name`, what its messages begin with.

say() { printf '%s: %s\n' "$name" "$*" >&2; }

missing() {
    say "$*"
    exit 3
}

# What cannot be had from the tree, as it makes the tree.
need_tools() {
    local tool
    for tool in "$@"; do
        command -v "$tool" > /dev/null || missing "$tool is not installed: apt-get install $tool"
    done
}

# install_tree: once. QEMU is that of backports, which has vfio-user-pci.
install_tree() {
    [ "$(id -u)" = 0 ] || missing "installing takes root: debootstrap makes a tree with its owners"
    need_tools debootstrap cpio xz
    [ ! -x "$root/usr/bin/qemu-system-x86_64" ] || [ ! -x "$root/usr/bin/busybox" ] || return 0
    mkdir -p "$(dirname "$root")"
    debootstrap --variant=minbase trixie "$root" >&2
    # From where debootstrap had the rest.
    sed 's/ trixie / trixie-backports /' "$root/etc/apt/sources.list" > "$root/etc/apt/sources.list.d/backports.list"
    chroot "$root" apt-get update -q >&2
    chroot "$root" apt-get install -y -q --no-install-recommends -t trixie-backports qemu-system-x86 >&2
    chroot "$root" apt-get install -y -q --no-install-recommends busybox-static >&2
}

# unpack_package FOLDER PACKAGE...: into a folder of the tree. Kernels are unpacked, not installed: their scripts would make an initramfs that nobody
# boots.
unpack_package() {
    local to=$1
    shift
    mkdir -p "$root$to/debs"
    chroot "$root" sh -c 'cd "$0/debs" && apt-get download -q "$@" && for deb in *.deb; do dpkg -x "$deb" "$0"; done' "$to" "$@" >&2
    rm -r "$root$to/debs"
}

# kernel_package META: the kernel that a metapackage stands for.
kernel_package() {
    chroot "$root" apt-cache depends "$1" | awk '/Depends: linux-image-/ { print $2; exit }'
}
