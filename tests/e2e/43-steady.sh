#!/bin/sh
# Many steps leave the worker as it was: its memory and its descriptors do not grow with them, under bwrap or with VMs. And VMs come up while each CPU
# of the machine is busy with something else: none hangs, none needs a second try.
# ASSAY_VM_STEPS: so many null steps in VMs in the middle (2), with a line about the worker after each hundred.
. "$(dirname "$0")/lib.sh"
vm_steps=${ASSAY_VM_STEPS:-2}
case $vm_steps in *[!0-9]* | 0*) fail "ASSAY_VM_STEPS: not a number of steps: $vm_steps" ;; esac
no_quarantine
realm --workers 1 --trusted 1
one=$realm/worker-1
printf '[worker]\nisolation = bwrap qemu\nemulation = yes\n[limits]\nmemory = 96M\ndisk = 32M\ncpus = 1\nnice = 0\n' >>"$one/worker.ini"
daemons worker-1
worker=$pid
vm_image
project p
steps() { # N ISOLATION: so many null steps, one after the other
    printf 'image: %s\npolicy: {isolation: %s}\nsteps: {build: {run: "true"}}\n' "$image" "$2" >"$repo/.assay.yml"
    n=$1
    while [ "$n" -gt 0 ]; do
        commit "$2 $n"
        push 0
        n=$((n - 1))
    done
}
# the descriptors of a step are gone a moment after its verdict
settled() { [ "$(fds)" -le "$fds" ]; }
held() { # WHAT: no more descriptors than before, and no more memory than a sanitizer may need; make bench looks closer
    until_true 20 settled
    [ "$(kib)" -le $((kib + 2048)) ] || fail "$1: the worker has $(kib) KiB of its own, and had $kib before"
    say "$1: $(fds) descriptors (before: $fds), $(kib) KiB of its own (before: $kib)"
}
steps 5 bwrap
steps 2 qemu
cleared() { [ -z "$(find "$one/state/steps" -mindepth 1)" ]; }
until_true 20 cleared
kib=$(kib) fds=$(fds)
steps 30 bwrap
held "30 steps under bwrap"
kept() { # what stays on the disk between steps: KiB of snapshots, and entries of the folders of steps
    echo "$(du -sk "$one/state/snapshots" | cut -f1) KiB of snapshots, $(find "$one/state/steps" -mindepth 1 | wc -l) files of steps"
}
until_true 20 cleared
before=$(kept) done_steps=0
while [ "$done_steps" -lt "$vm_steps" ]; do
    more=$((vm_steps - done_steps < 100 ? vm_steps - done_steps : 100))
    steps $more qemu
    done_steps=$((done_steps + more))
    held "$done_steps steps in VMs"
done
until_true 20 cleared
[ "$(kept)" = "$before" ] || fail "after $vm_steps steps in VMs: $(kept), before: $before"
say "$vm_steps steps in VMs: $(kept), as before"

say "VMs while each CPU is busy"
i=$(nproc)
while [ "$i" -gt 0 ]; do
    sh -c 'while :; do :; done' &
    pids="$pids $!"
    i=$((i - 1))
done
first=$(grep -c 'step starts' "$scratch/worker-1.log")
steps 4 qemu
printf '[worker]\nsnapshots = 0\n' >>"$one/worker.ini"
expect 0 assay worker --dir "$one" reload
steps 1 qemu
tries=$(($(grep -c 'step starts' "$scratch/worker-1.log") - first))
[ "$tries" = 5 ] || fail "$tries tries for 5 steps"
! grep -q 'kind=error' "$scratch/worker-1.log" || fail "a step had to be tried again"
held "all of them"
done_ok
