#!/usr/bin/env bash
# Boots a small Linux guest under a QEMU that has vfio-user-pci, in front of devices that `fabric serve` serves, and checks them from inside.
#
#   scripts/qemu-guest/run.sh install [FOLDER]   QEMU of trixie-backports and a kernel, into the folder alone; as root, with debootstrap, cpio and xz
#   scripts/qemu-guest/run.sh check [FOLDER]     boots a guest for each device, under TCG; the repository must be built
#   scripts/qemu-guest/run.sh through [FOLDER]   the same, but the guest's devices are a daemon's, to which another process serves them
#
# FOLDER: default /var/tmp/fabric-qemu-guest. Ends with 0, with 1 when a check failed, 2 for wrong usage, 3 when something is not installed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=${2:-/var/tmp/fabric-qemu-guest}
root=$folder/root
fabric=${FABRIC:-$here/../../src/Fabric.Cli/bin/Debug/net10.0/fabric}

name=qemu-guest
# shellcheck source=scripts/guest-tree.sh
. "$here/../guest-tree.sh"

install_all() {
    install_tree
    unpack_package /guest-kernel "$(kernel_package linux-image-cloud-amd64)"
    say "installed in $folder"
}

# The guest's init and what it loads, as an initramfs.
pack() {
    local tree=$folder/initramfs module
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,proc,sys,dev,modules}
    cp "$root/usr/bin/busybox" "$tree/bin/busybox"
    cp "$here/init" "$tree/init"
    # What the kernel has built in is no module of it; busybox reads none that is compressed.
    for module in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do
        find "$root/guest-kernel" -name "$module.ko" -o -name "$module.ko.xz" | while read -r file; do
            case $file in
                *.xz) xz -dc "$file" > "$tree/modules/$module.ko" ;;
                *) cp "$file" "$tree/modules/" ;;
            esac
        done
    done
    (cd "$tree" && find . | cpio -o -H newc 2> /dev/null | gzip) > "$root/tmp/initramfs"
    cp "$root"/guest-kernel/boot/vmlinuz-* "$root/tmp/vmlinuz"
}

# A daemon that uses the device on the first socket, and serves it on the second.
start_between() {
    local from=$1 to=$2 data=$3 tries
    rm -rf "$data"
    mkdir -p "$data"
    printf '{
        "node": { "name": "between", "roles": ["control", "host"], "dataDirectory": "%s" },
        "cluster": { "port": 0 }, "api": { "url": "http://127.0.0.1:0" }, "dataPlane": { "port": 0 },
        "hardware": { "linux": { "enabled": false }, "vfioUser": [ { "address": "fabe:00:01.0", "socket": "%s" } ] },
        "serving": { "sockets": [ { "address": "fabe:00:01.0", "socket": "%s" } ] }
    }' "$data" "$from" "$to" > "$data/fabricd.json"
    "$(dirname "$fabric")/daemon/fabricd" --config "$data/fabricd.json" > "$data/log" 2>&1 &
    between=$!
    for tries in $(seq 120); do
        [ -S "$to" ] && return 0
        kill -0 "$between" 2> /dev/null || return 1
        sleep 0.5
    done
    return 1
}

# check_device MODEL: boots a guest in front of it; its console's last word is PASSED, or what failed.
check_device() {
    local model=$1 socket=$root/tmp/$1.sock log=$folder/$1.log served serving ready
    served=$socket
    [ "$through" = 0 ] || served=$folder/$model-behind.sock
    coproc SERVING { exec "$fabric" serve --emulated "$model" --socket "$served" 2> "$folder/$model-serve.log"; }
    serving=$SERVING_PID
    if ! read -r -t 60 ready <&"${SERVING[0]}" || [ "$ready" != "$served" ]; then
        say "$model: not served: $(cat "$folder/$model-serve.log")"
        return 1
    fi
    if [ "$through" = 1 ] && ! start_between "$served" "$socket" "$folder/$model-between"; then
        say "$model: the daemon between does not serve it: $(tail -n 5 "$folder/$model-between/log")"
        kill -TERM "$serving" "$between" || true
        return 1
    fi
    timeout 180 chroot "$root" qemu-system-x86_64 -accel tcg -nographic -no-reboot -nodefaults -serial stdio -m 256 \
        -object memory-backend-memfd,id=memory,size=256M,share=on -machine pc,memory-backend=memory \
        -kernel /tmp/vmlinuz -initrd /tmp/initramfs -append "console=ttyS0 quiet panic=1 fabric=$model" \
        -device "{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/tmp/$model.sock\"}}" < /dev/null > "$log" 2>&1 || true
    if [ "$through" = 1 ]; then
        kill -TERM "$between"
        wait "$between" || true
    fi
    kill -TERM "$serving"
    wait "$serving" || true
    if [ -e "$socket" ] || [ -e "$served" ]; then
        say "$model: the socket is there still"
        return 1
    fi
    if ! grep -q '^PASSED' "$log"; then
        say "$model: failed; the guest's console is $log"
        tail -n 20 "$log" >&2
        return 1
    fi
    say "$model: passed"
}

check_all() {
    [ -x "$fabric" ] || missing "$fabric is not there: dotnet build"
    [ -x "$root/usr/bin/qemu-system-x86_64" ] || missing "no QEMU in $folder: $0 install"
    pack
    say "$(chroot "$root" qemu-system-x86_64 --version | head -n 1)"
    local failed=0
    for model in multi-function virtio-blk mtty-2; do
        check_device "$model" || failed=1
    done
    exit $failed
}

through=0
case ${1:-} in
    install) install_all ;;
    check) check_all ;;
    through)
        through=1
        check_all
        ;;
    *)
        say "usage: $0 install|check|through [FOLDER]"
        exit 2
        ;;
esac
