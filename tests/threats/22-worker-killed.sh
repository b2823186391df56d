#!/bin/sh
# SIGKILL of a worker in mid-step: the step goes to another owner, and once the worker has started again nothing of the step is left. Ctrl-C
# hands the step back at once. Pause, resume.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 2 --trusted 1
mv "$realm/worker-1" "$realm/one"
mv "$realm/worker-2" "$realm/two"
printf '[leases]\nsilence = 3s\n' >>"$realm/broker/broker.ini"
up
image
project p
recipe <<'R'
image: IMAGE
steps:
  build:
    artifacts: [n]
    run: |
      cp n /out/n
      [ -e fast ] || { sleep 54321 & sleep 54321; }
R
echo 1 >"$repo/n"
commit slow
mounts() { grep -c "$scratch" /proc/self/mounts || true; }
m=$(mounts)
# as if the worker was killed while it fetched two images; somebody goes on with the second
images=$realm/one/state/images
left=$images/$(printf '%064d' 5) held=$images/$(printf '%064d' 6)
mkdir -p "$left.part/x" "$held.part/x"
flock -x -F "$held.lock" sleep 60 &
pids="$pids $!"
start one assay-worker --dir "$realm/one"
one=$pid
push_only
running() { [ "$(pgrep -xfc 'sleep 54321')" -ge 2 ]; } # the step's own, not the sandbox's command line
none() { ! pgrep -f 'sleep 54321' >/dev/null; }
until_true 20 running
[ ! -e "$left.part" ] || fail "a part of an image that was left is kept for ever"
[ -e "$held.part/x" ] || fail "a part of an image that somebody fetches was removed"
say "SIGKILL of the worker: its step dies with it"
kill -9 "$one"
wait "$one" 2>/dev/null || true
until_true 10 none
say "the step goes to another owner"
start two assay-worker --dir "$realm/two"
two=$pid
until_true 30 running
say "Ctrl-C: handed back at once, and leased again to the first, once it is there"
kill -INT "$two"
wait "$two" 2>/dev/null || true
until_true 10 none
timeout 3 assay watch --since 1 --json >"$scratch/out" || true
has out '"kind":"handed-back"'
has out "its owner stopped the worker"
start one assay-worker --dir "$realm/one"
one=$pid
until_true 40 running
say "pause: no new steps; what runs goes on; resume"
expect 0 assay-worker --dir "$realm/one" pause
expect 0 assay-worker --dir "$realm/one" status
has out paused
echo x >"$repo/fast"
commit fast
expect 0 assay push -C "$repo"
fast=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
sleep 2
[ "$(state_of "$fast" build)" = pending ] || fail "a paused worker took a step"
expect 0 assay cancel "$id"
until_true 10 none
expect 0 assay-worker --dir "$realm/one" resume
until_true 20 sh -c "assay status --json $fast | grep -q '\"state\":\"trusted\"'"
say "nothing is left"
kill "$one"
wait "$one" || true
[ "$(mounts)" = "$m" ] || fail "mounts"
no_loops() { ! losetup -a | grep -q "$scratch"; }
until_true 10 no_loops
for w in one two; do [ "$(find "$realm/$w/state/steps" -mindepth 1 2>/dev/null | wc -l)" = 0 ] || { [ $w = two ] || fail "files of $w"; }; done
key=$(worker_key "$realm/one") # this realm's, not whatever else runs
no_groups() { [ -z "$(find /sys/fs/cgroup -type d -path "*assay-$key/*.box" 2>/dev/null)" ]; }
until_true 20 no_groups
done_ok
