# lib.sh: for the scenarios: a realm on real processes in a folder of its own, gone afterwards. Source it first:
#     . "$(dirname "$0")/lib.sh"
#     realm --workers 3 --trusted 1; up; image
# Each scenario says its goal in its first lines, and ends with `done_ok`. ASSAY_BUILD: the build folder (default: ./build).
set -eu
build=${ASSAY_BUILD:-build}
build=$(cd "$build" && pwd) || { echo "no build in $build (set ASSAY_BUILD)"; exit 1; }
PATH=$build:$PATH
export PATH
unset ASSAY_DIR GIT_DIR GIT_WORK_TREE || true
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
scratch=$(mktemp -d "${TMPDIR:-/tmp}/assay-test.XXXXXX")
realm=$scratch/realm
pids=

clean() {
    status=$?
    trap - EXIT INT TERM
    for p in $pids; do kill "$p" 2>/dev/null || true; done
    # one that does not end by itself must not hold the others up
    (sleep 30; for p in $pids; do kill -9 "$p" 2>/dev/null || true; done) >/dev/null 2>&1 &
    guard=$!
    for p in $pids; do wait "$p" 2>/dev/null || true; done
    kill "$guard" 2>/dev/null || true
    if [ "$status" != 0 ] && [ "$status" != 77 ]; then
        echo "--- FAILED (status $status); the ends of the logs:"
        for f in "$scratch"/*.log; do [ -f "$f" ] && { echo "== ${f##*/}"; tail -n 40 "$f"; }; done
        [ ! -s "$scratch/why" ] || { echo "--- and the reason:"; cat "$scratch/why"; }
    fi
    # a killed worker may have left a mount
    grep -o " $scratch[^ ]*" /proc/self/mounts | sort -r | while read -r m; do umount -l "$m" 2>/dev/null || true; done
    rm -rf "$scratch"
    exit "$status"
}
trap clean EXIT
trap 'exit 1' INT TERM

# the reason is said at once, and once more as the last thing
fail() { echo "FAILED: $*" | tee "$scratch/why"; exit 1; }
say() { echo "-- $*"; }
scenario_began=$(date +%s)
took() { echo "$(($(date +%s) - scenario_began)) s"; } # since the scenario began
done_ok() { say "ok"; exit 0; }

# expect STATUS COMMAND...: runs it; its output is left in $scratch/out and $scratch/err
expect() {
    want=$1
    shift
    got=0
    timeout 120 "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
    if [ "$got" != "$want" ]; then
        cat "$scratch/out" "$scratch/err"
        fail "$* gave $got, not $want: $(tail -n 3 "$scratch/err")"
    fi
}
# has FILE TEXT: out or err holds it
has() { grep -qF -- "$2" "$scratch/$1" || { cat "$scratch/out" "$scratch/err"; fail "no \"$2\" in $1"; }; }
# What the machine has of memory, in MiB; to be awaited, as whatever else runs here takes and gives meanwhile.
memory() { awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo; }
memory_above() { [ "$(memory)" -gt "$1" ]; }
# What a worker has of this machine, by its folder. worker_key: the name of its control groups.
worker_key() { printf %s "$(readlink -f "$1/state")" | sha256sum | cut -c1-16; }
# KEY: KiB of memory that its steps hold, also those that are over: what stayed mapped, in a tmpfs or in a file without a name is still charged to
# them. The page cache is not counted. 0 where there are no control groups.
step_memory() {
    find /sys/fs/cgroup -name memory.stat -path "*assay-$1/memory.stat" -exec cat {} + 2>/dev/null |
        awk '{ v[$1] = $2 } END { print int((("total_rss" in v) ? v["total_rss"] + v["total_shmem"] : v["anon"] + v["shmem"]) / 1024) }'
}
# FOLDER: processes that name it, are in a control group of its steps, or have a file open in it, if only one without a name
worker_processes() {
    {
        pgrep -f "$1"
        grep -ls "assay-$(worker_key "$1")" /proc/[0-9]*/cgroup | cut -d/ -f3
        find /proc/[0-9]*/fd -lname "$1/*" 2>/dev/null | cut -d/ -f3
    } | sort -u || true
}
# Before the daemons start, where their memory is measured: AddressSanitizer keeps what was freed for a while, and that is not theirs.
no_quarantine() {
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1
    export ASAN_OPTIONS
}
# What the process $worker has: KiB of memory of its own, and descriptors
kib() { awk '/^RssAnon/ { print $2 }' "/proc/$worker/status"; }
fds() { find "/proc/$worker/fd" -mindepth 1 | wc -l; }
# until_true SECONDS COMMAND...
until_true() {
    left=$(($1 * 10))
    shift
    while ! "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "never came true: $*"
        sleep 0.1
    done
}

# Its workers use namespaces, which is quick: scenarios of VMs say so in their worker.ini
realm() {
    assay init "$realm" --isolation bwrap "$@" >"$scratch/init.log"
    export ASSAY_DIR=$realm
}
# start NAME COMMAND...: in the background, its log in NAME.log; waits for its line "ready". Sets $pid
start() {
    start_name=$1
    shift
    : >"$scratch/$start_name.log"
    "$@" >>"$scratch/$start_name.log" 2>&1 &
    pid=$!
    pids="$pids $pid"
    until_true 30 grep -qx ready "$scratch/$start_name.log"
}
up() { start up assay up "$realm"; up_pid=$pid; }
down() { kill "$up_pid"; wait "$up_pid" || true; }
# all daemons one by one, for scenarios that kill them; worker folders as arguments
daemons() {
    for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; eval "${d}_pid=$pid"; done
    for d in "$@"; do start "$d" assay-worker --dir "$realm/$d"; done
}

# image: a small one of busybox, named box; its full name is left in $image. Without a kernel: it boots no VM (vm_image does)
image() { make_image box --kernel none; }
# needs_vm: skips the scenario where none can be had
needs_vm() { [ "$(uname -m)" = x86_64 ] && command -v qemu-system-x86_64 >/dev/null || { say "skipped: no qemu-system-x86_64 here"; exit 77; }; }
# vms_of PID: the qemu processes below this process
vms_of() {
    for vm in $(pgrep qemu-system-x86); do
        above=$vm
        while [ "$above" -gt 1 ] 2>/dev/null; do
            [ "$above" != "$1" ] || { echo "$vm"; break; }
            above=$(awk '{ print $4 }' /proc/"$above"/stat 2>/dev/null || echo 0)
        done
    done
}
away='resolve|connect|fetch|unreachable|timed out|network|does not know'
# vm_image: with the kernel of Debian's archive (kept in the cache of who runs this); skips the scenario where it cannot be had
vm_image() {
    needs_vm
    make_image vmbox || {
        grep -qiE "$away" "$scratch/image.err" && { echo "skipped: no package archive: $(tail -n 1 "$scratch/image.err")"; exit 77; }
        cat "$scratch/image.err"
        fail "image import"
    }
}
make_image() { # NAME OPTION...
    box_name=$1
    shift
    mkdir -p "$scratch/rootfs/bin" "$scratch/rootfs/tmp" "$scratch/rootfs/proc" "$scratch/rootfs/dev" "$scratch/rootfs/src" "$scratch/rootfs/in" "$scratch/rootfs/out" "$scratch/rootfs/etc"
    cp "$(command -v busybox)" "$scratch/rootfs/bin/busybox"
    for a in $(busybox --list); do [ "$a" = busybox ] || ln -sf busybox "$scratch/rootfs/bin/$a"; done
    image=$(assay image import --name "$box_name" "$@" "$scratch/rootfs" 2>"$scratch/image.err")
}
# debian_image NAME PACKAGE...: of Debian's packages, with a kernel; its full name is left in $image. Skips the scenario where the archive cannot be reached
debian_image() {
    debian_name=$1
    shift
    image=$(assay image build --name "$debian_name" "$@" 2>"$scratch/image.err") || {
        grep -qiE "$away" "$scratch/image.err" && { echo "skipped: no package archive: $(tail -n 1 "$scratch/image.err")"; exit 77; }
        cat "$scratch/image.err"
        fail "image build"
    }
}
# project NAME: an empty repository $scratch/NAME; `recipe` writes its .assay.yml from the standard input with IMAGE replaced
project() {
    repo=$scratch/$1
    git init -q -b main "$repo"
}
recipe() { sed "s|IMAGE|$image|" >"$repo/.assay.yml"; }
commit() {
    git -C "$repo" add -A
    git -C "$repo" commit -q --allow-empty -m "${1:-change}"
}
# push ARGS...: waits; leaves the id in $id
push() {
    want=$1
    shift
    expect "$want" assay push -C "$repo" --wait "$@"
    id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1) || true
}
# push_only: the same, but nobody waits for it; its id in $id
push_only() {
    expect 0 assay push -C "$repo"
    id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
}
state_of() { assay status --json "$1" | sed -n "s/.*\"name\":\"$2\",\"state\":\"\([a-z]*\)\".*/\1/p"; }
