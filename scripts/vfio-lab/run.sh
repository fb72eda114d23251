#!/usr/bin/env bash
# Boots a guest with a real kernel, IOMMU, VFIO, AER and SR-IOV over QEMU's devices, and runs this project's own programs in it: the host's dotnet and
# build output are seen there over 9p.
#
#   scripts/vfio-lab/run.sh install [FOLDER]          QEMU, a kernel, and its modules rebuilt with iommufd; into the folder alone, as root
#   scripts/vfio-lab/run.sh test [FILTER...]          the tests that need the lab, in the guest; the repository must be built
#   scripts/vfio-lab/run.sh run COMMAND               any command of the host's, in the guest; ends with its exit code
#
# FOLDER, or FABRIC_VFIO_LAB_FOLDER: default /var/tmp/fabric-qemu-guest, shared with scripts/qemu-guest. Ends with 0, with 1 when a test failed, 2 for
# wrong usage, 3 when something is not installed, 125 when the guest did not come to an end (its console is named then).
# By environment: MEMORY and LIMIT of the guest (MiB, s), ACPI_HOTPLUG=on (recovery from a fatal error fails then), EXTRA (arguments for QEMU).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=vfio-lab
folder=${FABRIC_VFIO_LAB_FOLDER:-/var/tmp/fabric-qemu-guest}
[ "${1:-}" != install ] || folder=${2:-$folder}
root=$folder/root
kernel=$root/lab-kernel
boot=$folder/lab
# shellcheck source=scripts/guest-tree.sh
. "$here/../guest-tree.sh"

install_all() {
    install_tree
    local image version release
    image=$(kernel_package linux-image-amd64)
    version=${image#linux-image-}
    [ -e "$kernel/boot/vmlinuz-$version" ] || unpack_package /lab-kernel "$image"
    if ! ls "$kernel"/usr/lib/modules/*/updates/vfio.ko > /dev/null 2>&1; then
        release=$(echo "$version" | cut -d . -f 1,2)
        # QEMU brought a newer libelf, which that of the headers' tools goes with.
        chroot "$root" apt-get install -y -q --no-install-recommends \
            "linux-headers-$version" make kmod xz-utils zstd libdw1t64/trixie-backports >&2
        unpack_package /lab-source "linux-source-$release"
        chroot "$root" tar -C /lab-source -xf "/lab-source/usr/src/linux-source-$release.tar.xz" \
            "linux-source-$release/drivers/iommu" "linux-source-$release/drivers/vfio" "linux-source-$release/samples/vfio-mdev" \
            "linux-source-$release/lib/interval_tree.c" "linux-source-$release/scripts/extract-vmlinux"
        cp "$here/modules.sh" "$root/tmp/modules.sh"
        chroot "$root" nice bash /tmp/modules.sh "/lab-source/linux-source-$release" "/usr/src/linux-headers-$version" /lab-kernel \
            > "$folder/lab-modules.log" 2>&1 || missing "the modules do not build, see $folder/lab-modules.log"
    fi
    mkdir -p "$boot"
    # Not compressed: TCG would take seconds to unpack it.
    chroot "$root" sh -c 'bash /lab-source/linux-source-*/scripts/extract-vmlinux "/lab-kernel/boot/vmlinuz-$0"' "$version" > "$boot/vmlinux" || true
    [ -s "$boot/vmlinux" ] || missing "the kernel cannot be unpacked: is zstd in the tree?"
    pack
    say "installed in $folder: kernel $version, $(qemu --version | head -n 1)"
}

# pack: the guest's init, and the modules that it loads, in the order in which they need each other.
pack() {
    local tree=$folder/lab-initramfs module version
    version=$(basename "$kernel"/usr/lib/modules/*)
    rm -rf "$tree"
    mkdir -p "$tree/bin" "$tree/modules"
    cp "$root/usr/bin/busybox" "$tree/bin/busybox"
    install -m 755 "$here/init" "$tree/init"
    for module in virtio_pci virtio_console 9pnet_virtio 9p overlay iommufd vfio vfio_iommu_type1 vfio-pci mdev igb igbvf e1000e nvme mtty; do
        chroot "$root" modprobe -d /lab-kernel/usr -S "$version" --show-depends "$module" 2> /dev/null | awk '$1 == "insmod" { print $2 }'
    done | awk '!seen[$0]++' | while read -r file; do
        module=$(basename "${file%.xz}")
        case $file in
            *.xz) xz -dc "$root$file" > "$tree/modules/$module" ;;
            *) cp "$root$file" "$tree/modules/$module" ;;
        esac
        echo "$module" >> "$tree/modules/load"
    done
    (cd "$tree" && find . | cpio -o -H newc 2> /dev/null | gzip -1) > "$boot/initramfs"
}

# QEMU of the tree with the machine's own files before it: its loader and libraries are named, so it needs no chroot.
qemu() {
    "$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/usr/bin/qemu-system-x86_64" \
        -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
}

# run COMMAND: in a guest. What it prints is printed; its exit code is this one's.
run() {
    [ -s "$boot/vmlinux" ] || missing "no guest in $folder: $0 install"
    pack
    local io code=125 guest
    io=$(mktemp -d)
    printf 'cd %q\nexport FABRIC_VFIO_LAB=1\n%s\n' "$PWD" "$1" > "$io/command"
    truncate -s 64M "$io/disk"
    : > "$io/output"
    local devices=(
        # The lab's own, not behind the IOMMU.
        -fsdev "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap" -device virtio-9p-pci,fsdev=host,mount_tag=host,addr=02.0
        -fsdev "local,id=io,path=$io,security_model=none" -device virtio-9p-pci,fsdev=io,mount_tag=io,addr=03.0
        -device virtio-serial-pci,addr=04.0 -chardev "file,id=output,path=$io/output" -device virtserialport,chardev=output,name=output
        # QEMU's monitor as a port of the guest: a test injects errors and unplugs by itself.
        -chardev "socket,id=server,path=$io/monitor,server=on,wait=off" -mon chardev=server,mode=control
        -chardev "socket,id=client,path=$io/monitor,reconnect-ms=100" -device virtserialport,chardev=client,name=monitor
    )
    local port nvme_queues=max_ioqpairs=12,msix_qsize=13
    for port in 1 2 3 4 5 6 7; do
        devices+=(-device "pcie-root-port,id=port$port,chassis=$port,slot=$port,addr=08.$((port - 1))$([ "$port" != 1 ] || echo ,multifunction=on)")
    done
    devices+=(
        # 01:00.0 with SR-IOV, 02:00.0, 03:00.0 with SR-IOV, 04:00.0 with DMA and MSI, 05:00.0 with AER
        -device igb,id=igb,bus=port1 -device e1000e,id=e1000e,bus=port2
        -device nvme-subsys,id=subsystem -drive "file=$io/disk,if=none,id=disk,format=raw"
        -device "nvme,id=nvme,serial=lab,bus=port3,subsys=subsystem,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,$nvme_queues"
        -device nvme-ns,drive=disk,bus=nvme,nsid=1
        -device edu,id=edu,bus=port4
        -device virtio-net-pci,id=virtio,bus=port5,disable-legacy=on,iommu_platform=on,ats=on,aer=on
        # 06:00.0 and .1: a card of two functions, one group
        -device e1000e,id=first,bus=port6,addr=00.0,multifunction=on -device e1000e,id=second,bus=port6,addr=00.1
        # 08:01.0 and 08:02.0 behind a bridge to PCI: one group, with the bridge
        -device pcie-pci-bridge,id=bridge,bus=port7
        -device edu,id=behind,bus=bridge,addr=01.0 -device pci-testdev,id=beside,bus=bridge,addr=02.0,membar=1M
    )
    # shellcheck disable=SC2086 # EXTRA is several arguments.
    qemu -machine q35,kernel-irqchip=split -accel tcg,thread=multi,tb-size=512 -cpu max -smp 1 -m "${MEMORY:-3072}" -nodefaults -no-user-config \
        -nic none -display none -no-reboot -global "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=${ACPI_HOTPLUG:-off}" \
        -serial "file:$io/console" -device intel-iommu,intremap=on,caching-mode=on,device-iotlb=on,aw-bits=48 "${devices[@]}" \
        -kernel "$boot/vmlinux" -initrd "$boot/initramfs" \
        -append "console=ttyS0 quiet panic=-1 intel_iommu=on random.trust_cpu=on mitigations=off nokaslr" ${EXTRA:-} < /dev/null 2> "$io/qemu" &
    guest=$!
    ( sleep "${LIMIT:-600}" && kill -KILL "$guest" ) 2> /dev/null &
    local limit=$!
    tail -n +1 -f --pid="$guest" "$io/output" 2> /dev/null || true
    wait "$guest" || true
    kill "$limit" 2> /dev/null || true
    [ ! -e "$io/code" ] || code=$(cat "$io/code")
    grep -h 'vfio-lab:' "$io/console" "$io/dmesg" 2> /dev/null | sed 's/.*vfio-lab:/guest:/' | sort -u >&2 || true
    if [ "$code" = 125 ]; then
        grep -v 'no peer' "$io/qemu" >&2 || true
        tail -n 5 "$io/console" >&2 || true
        say "the guest did not come to an end; its console is $io/console"
    else
        cp "$io/dmesg" "$folder/lab-dmesg"
        rm -rf "$io"
    fi
    return "$code"
}

run_tests() {
    local tests=$here/../../tests/Fabric.Hardware.Linux.Tests/bin/Debug/net10.0/Fabric.Hardware.Linux.Tests.dll
    [ -e "$tests" ] || missing "$tests is not there: dotnet build"
    local filter=(-trait Needs=vfio-lab)
    [ $# = 0 ] || filter=("$@")
    DOTNET_TieredPGO=0 run "$(printf '%q ' "$(command -v dotnet)" exec "$(realpath "$tests")" "${filter[@]}" -noLogo -noColor -parallelMode none)"
}

command=${1:-}
shift || true
case $command in
    install) install_all ;;
    test) run_tests "$@" ;;
    run) run "$*" ;;
    *)
        say "usage: $0 install [FOLDER] | test [FILTER...] | run COMMAND"
        exit 2
        ;;
esac
