#!/bin/bash
# Builds iommufd, VFIO with its cdevs, and a mediated sample device as modules for the kernel whose headers and sources are here: Debian builds
# its kernels without iommufd, so those have neither /dev/iommu nor /dev/vfio/devices. Runs inside the tree that install_tree makes.
#
#   modules.sh SOURCE HEADERS KERNEL      the kernel's sources and headers, and the folder that has its lib/modules
set -euo pipefail
source=$1 headers=$2 kernel=$3
build=/tmp/vfio-modules
rm -rf "$build"
mkdir -p "$build"
cp -r "$source/drivers/iommu/iommufd" "$build/iommufd"
cp -r "$source/drivers/vfio" "$build/vfio"
cp -r "$source/samples/vfio-mdev" "$build/samples"
# iommufd includes headers of the folder above it.
cp "$source"/drivers/iommu/*.h "$build/"

# The kernel leaves the span iterator out, which nobody else needs: iommufd gets one of its own.
{
    printf '#include <linux/%s.h>\n' interval_tree interval_tree_generic compiler export
    sed -n '/^#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER/,/^#endif/p' "$source/lib/interval_tree.c" | grep -v '^EXPORT_SYMBOL'
} > "$build/iommufd/span_iterator.c"
sed -i '0,/^iommufd-y := /s//iommufd-y := span_iterator.o /' "$build/iommufd/Makefile"
# Built in, these two are no modules, and say no licence.
for part in iova_bitmap driver; do
    file=$build/iommufd/$part.c
    [ ! -f "$file" ] || grep -q MODULE_LICENSE "$file" || printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n' >> "$file"
done

printf 'obj-m += %s/\n' iommufd vfio samples > "$build/Kbuild"
settings=() defines=-DCONFIG_INTERVAL_TREE_SPAN_ITER=1
for module in IOMMUFD IOMMUFD_DRIVER IOMMUFD_DRIVER_CORE; do
    settings+=("CONFIG_$module=m")
    defines+=" -DCONFIG_${module}_MODULE=1"
done
for feature in VFIO_DEVICE_CDEV VFIO_NOIOMMU; do
    settings+=("CONFIG_$feature=y")
    defines+=" -DCONFIG_$feature=1"
done
# The one sample that migrates.
settings+=(CONFIG_SAMPLE_VFIO_MDEV_MTTY=m)
make -C "$headers" M="$build" -j"$(nproc)" "${settings[@]}" CONFIG_DEBUG_INFO_BTF_MODULES= KCFLAGS="$defines" modules

modules=$(echo "$kernel"/lib/modules/* "$kernel"/usr/lib/modules/* | tr ' ' '\n' | grep -m1 '[0-9]$')
rm -rf "$modules/updates"
mkdir -p "$modules/updates"
find "$build" -name '*.ko' -exec cp {} "$modules/updates/" \;
strip -g "$modules"/updates/*.ko
depmod -b "${modules%/lib/modules/*}" "$(basename "$modules")"
rm -rf "$build"
