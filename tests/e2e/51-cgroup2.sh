#!/bin/sh
# Control groups of version 2: limits, out of memory, fork bombs, freezing, killing, delegation, in a VM whose kernel has all of their
# controllers (this machine may have version 1). A sanitized program needs more memory than that VM has.
# Build: gcc
. "${0%/*}/lib.sh"
init=$build/tests/unit/cgroup_init
[ -x "$init" ] || fail "not built: $init (make check TESTS=)"
realm --workers 1
up
vm_image
# the kernel as the image has it: the one ELF file of its size in the store
kernel=
for f in $(find "$realm/store/state" -type f -size +5M); do
    [ "$(head -c 4 "$f" | od -An -c | tr -d ' ')" != '177ELF' ] || kernel=$f
done
[ -n "$kernel" ] || fail "no kernel in the store"
tree=$scratch/tree
mkdir -p "$tree"
cp "$init" "$tree/init"
ldd "$init" | grep -oE '/[^ ]+' | while read -r lib; do mkdir -p "$tree/${lib%/*}" && cp -L "$lib" "$tree/$lib"; done
(cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$scratch/initramfs"
boot() {
    timeout 120 qemu-system-x86_64 -M q35 -accel tcg -cpu Nehalem-v1 -m 256M -smp 1 -nodefaults -no-user-config -display none -no-reboot -kernel "$kernel" -initrd "$scratch/initramfs" \
        -append 'console=ttyS0 quiet panic=-1 reboot=t no_timer_check cryptomgr.notests rdinit=/init' -serial stdio </dev/null >"$scratch/console.log" 2>&1
}
boot || fail "the VM: $(tail -n 5 "$scratch/console.log")"
tr -d '\r' <"$scratch/console.log" | grep -a cgroup2 >"$scratch/out" || true
cat "$scratch/out"
! grep -q WRONG "$scratch/out" || fail "a check does not hold"
has out 'cgroup2: all'
done_ok
