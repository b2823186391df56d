#!/bin/sh
# Steps that try to take the worker's machine: processes, memory, disk, log, time, the network, daemons, mounts. Each ends within its limits, and by
# the limit that is meant for it; while it runs, the machine never gives it more; and after each one the machine is as it was before: processes,
# mounts, loop devices, control groups, memory, disk. The worker goes on.
# DRIVER: the sandbox's (bwrap).
. "${0%/*}/../e2e/lib.sh"
driver=${DRIVER:-bwrap}
# most_*: what all processes of the worker's steps may have at once, on the host: the step's limits, and what the driver and the step's own process need
case $driver in
qemu) limit=120s short=15s most=150s wait=300 extra='emulation = yes\n' most_memory=1184 most_processes=160 ;;
*) limit=40s short=5s most=60s wait=120 extra= most_memory=448 most_processes=80 ;;
esac
most_disk=192
realm --workers 1 --trusted 1
one=$realm/worker-1
printf "[worker]\nisolation = $driver\n$extra[limits]\nprocesses = 64\nmemory = 256M\ndisk = 64M\nlog = 256K\ntime = $most\nfiles = 2000\nnice = 0\n" >>"$one/worker.ini"
printf '[leases]\nmax-upload = 64M\n' >>"$realm/broker/broker.ini"
up
case $driver in qemu) vm_image ;; *) image ;; esac
project p
nap=$((200000 + $$)) # seconds that no other process sleeps
key=$(worker_key "$one")
mounts() { grep -c "$scratch" /proc/self/mounts || true; }
loops() { losetup -a | grep -c "$scratch" || true; }
groups() { find /sys/fs/cgroup -type d -path "*assay-$key/*" 2>/dev/null | wc -l; }
processes() { { worker_processes "$one"; pgrep -xf "sleep $nap"; } | sort -u | wc -l; }
disk() { du -sm "$one/state" | cut -f1; }
unnamed() { # KiB in files that only open descriptors hold
    find /proc/[0-9]*/fd -lname "$one/state/steps/*" -exec stat -L -c '%i %b' {} + 2>/dev/null | awk '!seen[$1]++ { n += $2 } END { print int(n / 2) }'
}
group_file() { find /sys/fs/cgroup -name "$1" -path "*assay-$key/$1" 2>/dev/null | head -n 1; }

# What the steps of the worker have at once, while the file "watching" is there: the most of it in peak.*. Version 1 keeps the most of memory itself.
watch_them() {
    most_pids=0 most_bytes=0 most_kib=0 n=0
    while :; do
        read -r now 2>/dev/null <"$pids_file" && [ "$now" -gt $most_pids ] && most_pids=$now && echo $most_pids >"$scratch/peak.processes"
        read -r now 2>/dev/null <"$bytes" && [ "$now" -gt $most_bytes ] && most_bytes=$now && echo $((most_bytes >> 20)) >"$scratch/peak.memory"
        [ -e "$scratch/watching" ] || break
        n=$((n + 1))
        [ $((n % 8)) != 0 ] || { now=$(unnamed) && [ "$now" -gt $most_kib ] && most_kib=$now && echo $((most_kib >> 10)) >"$scratch/peak.disk"; }
        sleep 0.05
    done
}
peak() { cat "$scratch/peak.$1" 2>/dev/null || echo 0; }
left_over() { # "" or what is there that was not
    [ "$(mounts)" = "$m" ] || printf ' mounts: %s' "$(mounts)"
    [ "$(loops)" = 0 ] || printf ' loop devices: %s' "$(loops)"
    [ "$(groups)" = 0 ] || printf ' control groups: %s' "$(groups)"
    [ "$(processes)" -le "$n" ] || printf ' processes: %s' "$(processes)"
    [ "$(step_memory "$key")" -le 4096 ] || printf ' memory: %s KiB' "$(step_memory "$key")"
    [ -z "$(find "$one/state/steps" -mindepth 1 2>/dev/null)" ] || printf ' files of steps'
    [ "$(disk)" -le $((used + 8)) ] || printf ' disk: %s M' $(($(disk) - used))
}
as_before() { [ -z "$(left_over)" ]; }
step() { # STATUS NAME [ARTIFACTS]: a step with the script of the standard input. Its log is left in log
    {
        printf 'image: %s\nsteps:\n  %s:\n    limits: {time: %s}\n    artifacts: [%s]\n    run: |\n' "$image" "$2" "$limit" "${3:-}"
        sed "s/NAP/$nap/;s/^/      /"
    } >"$repo/.assay.yml"
    commit "$2"
    rm -f "$scratch"/peak.*
    : >"$scratch/watching"
    [ -z "$most_file" ] || echo 0 >"$most_file"
    watch_them &
    watcher=$! began=$(date +%s) got=0
    timeout $wait assay push -C "$repo" --wait >"$scratch/out" 2>"$scratch/err" || got=$?
    id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
    rm -f "$scratch/watching"
    wait $watcher || true
    assay log "$id/$2" >"$scratch/log" 2>/dev/null || true
    [ "$got" = "$1" ] || { tail -n 20 "$scratch/log"; cat "$scratch/err"; fail "$2: $got, not $1"; }
    say "$driver: $2: $(state_of "$id" "$2") after $(($(date +%s) - began)) s; at most $(peak processes) processes, $(peak memory) M of memory, $(peak disk) M of disk"
    [ "$(peak processes)" -le $most_processes ] || fail "$2: it had $(peak processes) processes on this machine"
    [ "$(peak memory)" -le $most_memory ] || fail "$2: it had $(peak memory) M of this machine's memory"
    [ "$(peak disk)" -le $most_disk ] || fail "$2: it had $(peak disk) M of this machine's disk"
    [ "$2" = warm ] || settled "$2"
}
settled() {
    left=100
    until as_before; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "$1: left over:$(left_over)"
        sleep 0.1
    done
    until_true 60 memory_above $((free - 400)) # others use this machine, too; what the steps hold is counted above
}
by() { grep -qF -- "$1" "$scratch/log" || { tail -n 20 "$scratch/log"; fail "it did not end by its limit: no \"$1\" in its log"; }; }
pids_file=$(group_file pids.current) bytes=$(group_file memory.max_usage_in_bytes) n=0 m=0 free=0 used=0
most_file=$bytes
[ -n "$bytes" ] || bytes=$(group_file memory.current)
echo true | step 0 warm
cleared() { [ -z "$(find "$one/state/steps" -mindepth 1)" ] && [ "$(groups)" = 0 ]; }
until_true 20 cleared
m=$(mounts) free=$(memory) used=$(disk) n=2 # the worker, and the process that waits for the next step
[ -n "$pids_file" ] || say "no control groups here: what steps take at once is not seen"

step 1 processes <<'S'
i=0; while [ $i -lt 200 ]; do sleep NAP & i=$((i + 1)); done
S
by "fork"
step 0 forkbomb <<'S'
bomb() { sleep NAP & (bomb) & (bomb) & wait; }
sleep 3 &
last=$!
(bomb) &
wait $last
S
# it did go off, as far as it can: what a shell started stays when it can start no more; processes of a VM are not the host's
[ "$driver" = qemu ] || [ -z "$pids_file" ] || [ "$(peak processes)" -ge 30 ] || fail "only $(peak processes) processes were seen"
step 1 memory <<'S'
awk 'BEGIN { for (s = "0123456789abcdef"; length (s) < 1000000; s = s s); for (i = 0; i < 700; i++) a[i] = s i; print i }'
S
by "the memory limit was reached"
step 1 disk <<'S'
dd if=/dev/zero of=/src/big bs=1M count=1000
S
by "No space left on device"
step 1 diskout <<'S'
dd if=/dev/zero of=/out/big bs=1M count=1000
S
by "No space left on device"
step 1 manyfiles <<'S'
i=0; while [ $i -lt 100000 ]; do : > /src/f$i || exit 1; i=$((i + 1)); done
S
by "No space left on device"
step 1 sparse <<'S'
dd if=/dev/zero of=/src/sparse bs=1 count=1 seek=1000000000000 && cat /src/sparse > /src/dense
S
by "File size limit exceeded"
step 1 dense <<'S'
truncate -s 60M /src/a; truncate -s 60M /src/b
cat /src/a /src/b > /src/c
S
by "No space left on device"
step 1 sparseout '"s*"' <<'S'
i=0; while [ $i -lt 200 ]; do truncate -s 60M /out/s$i; i=$((i + 1)); done
S
by "all together larger than"
step 0 logflood <<'S'
yes 'a line that is repeated without end to fill the disk of whoever keeps it' | head -c 20000000
S
[ "$(wc -c <"$scratch/log")" -le 300000 ] || fail "the log is $(wc -c <"$scratch/log") bytes"
limit=$short
step 1 endless <<'S'
while :; do :; done
S
by "stopped at the time limit"
[ $(($(date +%s) - began)) -lt 40 ] || fail "it was stopped only after $(($(date +%s) - began)) s"
limit=$most
step 0 daemon <<'S'
setsid sh -c 'sleep NAP & sleep NAP' </dev/null >/dev/null 2>&1 &
sleep 0.2
S
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
echo true | step 0 after
done_ok
