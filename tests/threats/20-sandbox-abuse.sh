#!/bin/sh
# Steps that try to take the worker's machine: processes, memory, disk, log, time, the network, daemons, mounts. Each ends within its limits, the
# machine is afterwards as it was before - processes, mounts, loop devices, control groups, memory, disk - and the worker goes on.
# DRIVER: the sandbox's (bwrap).
. "${0%/*}/../e2e/lib.sh"
driver=${DRIVER:-bwrap}
case $driver in
qemu) limit=60s most=90s wait=240 extra='emulation = yes\n' ;;
*) limit=8s most=20s wait=60 extra= ;;
esac
realm --workers 1 --trusted 1
printf "[worker]\nisolation = $driver\n$extra[limits]\nprocesses = 64\nmemory = 256M\ndisk = 64M\nlog = 256K\ntime = $most\nfiles = 2000\n" >>"$realm/worker-1/worker.ini"
up
case $driver in qemu) vm_image ;; *) image ;; esac
project p
mounts() { grep -c "$scratch" /proc/self/mounts || true; }
loops() { losetup -a | grep -c "$scratch" || true; }
key=$(printf %s "$(readlink -f "$realm/worker-1/state")" | sha256sum | cut -c1-16)
groups() { find /sys/fs/cgroup -type d -path "*assay-$key/*" 2>/dev/null | wc -l; }
# the worker's processes, and whatever has its folder open or below it
processes() { pgrep -fc "$realm/worker-1" || true; }
disk() { du -sm "$realm/worker-1/state" | cut -f1; }
expect_push() { # STATUS NAME
    got=0
    timeout $wait assay push -C "$repo" --wait >"$scratch/out" 2>"$scratch/err" || got=$?
    id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
    [ "$got" = "$1" ] || { assay log "$id/$2" | tail -n 20; cat "$scratch/err"; fail "$2: $got, not $1"; }
}
step() { # STATUS NAME SCRIPT-LINES
    {
        printf 'image: %s\nsteps:\n  %s:\n    limits: {time: %s}\n    run: |\n' "$image" "$2" "$limit"
        cat | sed 's/^/      /'
    } >"$repo/.assay.yml"
    commit "$2"
    began=$(date +%s)
    expect_push "$1" "$2"
    say "$driver: $2: $(state_of "$id" "$2") after $(($(date +%s) - began)) s"
    assay log "$id/$2" >"$scratch/log" 2>/dev/null || true
}
echo true | step 0 warm
m=$(mounts) free=$(memory) used=$(disk) n=$(processes)

step 1 forkbomb <<'S'
bomb() { bomb | bomb & }
bomb
sleep 3
i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i + 1)); done; wait
exit 1
S
step 1 memory <<'S'
tail -c 2000000000 /dev/zero
S
step 1 disk <<'S'
dd if=/dev/zero of=/src/big bs=1M count=1000
S
step 1 diskout <<'S'
dd if=/dev/zero of=/out/big bs=1M count=1000
S
step 1 manyfiles <<'S'
i=0; while [ $i -lt 100000 ]; do : > /src/f$i || exit 1; i=$((i + 1)); done
S
step 1 sparse <<'S'
dd if=/dev/zero of=/src/sparse bs=1 count=1 seek=1000000000000 && cat /src/sparse > /src/dense
S
step 0 logflood <<'S'
yes 'a line that is repeated without end to fill the disk of whoever keeps it' | head -c 20000000
S
[ "$(wc -c <"$scratch/log")" -le 300000 ] || fail "the log is $(wc -c <"$scratch/log") bytes"
step 1 endless <<'S'
while :; do :; done
S
step 0 daemon <<'S'
setsid sh -c 'sleep 12345 & sleep 12345' </dev/null >/dev/null 2>&1 &
sleep 0.2
S
! pgrep -f 'sleep 12345' >/dev/null || fail "a daemon outlives its step"
step 0 network <<'S'
nc -w 2 127.0.0.1 22 </dev/null && exit 1
nc -w 2 1.1.1.1 53 </dev/null && exit 1
nc -w 2 169.254.169.254 80 </dev/null && exit 1
nc -w 2 93.184.216.34 80 </dev/null && exit 1
nc -w 2 ::1 22 </dev/null && exit 1
nc -w 2 2606:4700:4700::1111 53 </dev/null && exit 1
nslookup example.org 1.1.1.1 && exit 1
nslookup example.org && exit 1
[ "$(ip -o link | grep -v lo: | wc -l)" = 0 ]
S
step 0 escape <<'S'
set -x
mount -t tmpfs none /mnt 2>/dev/null && exit 1
mount -o remount,rw / 2>/dev/null && exit 1
unshare -U true 2>/dev/null && exit 1
unshare -m true 2>/dev/null && exit 1
chroot / true 2>/dev/null && exit 1
mknod /tmp/null c 1 3 2>/dev/null && exit 1
mknod /tmp/sda b 8 0 2>/dev/null && exit 1
[ ! -e /dev/sda ] && [ ! -e /dev/kvm ] && [ ! -e /dev/loop0 ]
[ "$(id -u)" != 0 ]
[ "$(ls /proc | grep -c '^[0-9]')" -lt 8 ]
echo x > /bin/busybox 2>/dev/null && exit 1
dmesg >/dev/null 2>&1 && exit 1
ls /root/* /home/* 2>/dev/null && exit 1
echo 1 > /proc/sys/kernel/hostname 2>/dev/null && exit 1
kill -9 1 2>/dev/null || true
S
as_before() { # "" or what is left
    [ "$(mounts)" = "$m" ] && [ "$(loops)" = 0 ] && [ "$(groups)" = 0 ] && [ "$(processes)" -le $((n + 1)) ] # one may wait for the next step
}
left=200
until as_before; do
    left=$((left - 1))
    [ $left -gt 0 ] || fail "left: mounts $m -> $(mounts), loops $(loops), groups $(groups), processes $n -> $(processes)"
    sleep 0.1
done
until_true 60 memory_above $((free - 400))
[ "$(disk)" -le $((used + 8)) ] || fail "disk is gone: $used M before, now $(disk)"
[ "$(find "$realm/worker-1/state/steps" -mindepth 1 2>/dev/null | wc -l)" = 0 ] || fail "files of steps are left"
echo true | step 0 after
done_ok
