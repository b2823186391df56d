#!/bin/sh
# Control groups of version 2: limits, out of memory, fork bombs, freezing, killing, delegation; and with them the driver bwrap, as a worker has
# it, as root and as a user without privileges. In VMs whose kernel has all of their controllers (this machine may have version 1). A sanitized
# program needs more memory than these have.
# Build: gcc
. "${0%/*}/lib.sh"
for init in cgroup_init sandbox_init; do
    [ -x "$build/tests/unit/$init" ] || fail "not built: $build/tests/unit/$init (make check TESTS=)"
done
realm --workers 1
up
vm_image
# the kernel as the image has it: the one ELF file of its size in the store; and its initramfs, for its modules
kernel=
for f in $(find "$realm/store/state" -type f -size +5M); do
    [ "$(head -c 4 "$f" | od -An -c | tr -d ' ')" != '177ELF' ] || kernel=$f
done
[ -n "$kernel" ] || fail "no kernel in the store"
modules=
for f in $(find "$realm/store/state" -type f -size +100k); do
    [ "$(head -c 6 "$f" | tr -d '\0')" != 070701 ] || modules=$f
done
[ -n "$modules" ] || fail "no initramfs in the store"
tree=$scratch/tree
mkdir -p "$tree/usr" "$tree/sbin"
ln -s ../bin "$tree/usr/bin"
(cd "$tree" && busybox cpio -i -d 'modules/*' <"$modules" 2>/dev/null) || fail "the modules of the image"
cp -a "$scratch/rootfs" "$tree/image"
mkdir "$tree/bin"
cp "$(command -v busybox)" "$tree/bin/sh"
for program in cgroup_init:init sandbox_init:sandbox bwrap:bin/bwrap; do
    from=$build/tests/unit/${program%%:*}
    [ -x "$from" ] || from=$(command -v "${program%%:*}")
    cp "$from" "$tree/${program##*:}"
    ldd "$from" | grep -oE '/[^ ]+' | while read -r lib; do mkdir -p "$tree/${lib%/*}" && cp -L "$lib" "$tree/$lib"; done
done
(cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$scratch/initramfs"
boot() { # PROGRAM NAME: its checks are in $scratch/out
    timeout 120 qemu-system-x86_64 -M q35 -accel tcg -cpu Nehalem-v1 -m 384M -smp 2 -nodefaults -no-user-config -display none -no-reboot -kernel "$kernel" -initrd "$scratch/initramfs" \
        -append "console=ttyS0 quiet panic=-1 reboot=t no_timer_check cryptomgr.notests rdinit=/$1" -serial stdio </dev/null >"$scratch/console.log" 2>&1 \
        || fail "the VM: $(tail -n 5 "$scratch/console.log")"
    tr -d '\r' <"$scratch/console.log" | grep -a "$2" >"$scratch/out" || true
    cat "$scratch/out"
    ! grep -q WRONG "$scratch/out" || fail "a check does not hold"
    has out "$2: all"
}
boot init cgroup2
boot sandbox sandbox2
done_ok
