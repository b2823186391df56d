#!/bin/sh
# Who gets a step: labels, the worker's own projects, priority, limits that a worker does not give; several steps at
# once; a queue that is full says "busy"; and the state backend `mem`.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
printf '[limits]\nmemory = 512M\n' >>"$realm/worker-1/worker.ini"
printf '[limits]\nqueue = 6\n' >>"$realm/broker/broker.ini"
up
image
project p
say "labels: only a worker that has them"
token=$(assay token --role worker --name special --owner carol --project '*' --label arch=riscv --label ram=big)
expect 0 assay --dir "$realm/special" enrol "$token"
printf '[worker]\nfile-urls = yes\nisolation = bwrap\nprojects = p q/*\n' >"$realm/special/worker.ini"
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n], labels: {arch: riscv}}}
R
echo 1 >"$repo/n"
commit one
expect 0 assay push -C "$repo"
labelled=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
expect 0 assay push -C "$repo" --project other
other=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
sleep 1
[ "$(state_of "$labelled" build)" = pending ] || fail "a worker without the label took it"
start special assay-worker --dir "$realm/special"
until_true 20 sh -c "assay status --json $labelled | grep -q '\"state\":\"trusted\"'"
sleep 1
[ "$(state_of "$other" build)" = pending ] || fail "a project that its owner does not let it work on"

say "a step that wants more than any worker's owner gives is unsatisfiable, with both numbers; those behind it are not held up"
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n], limits: {memory: 4G}}}
R
commit large
expect 0 assay push -C "$repo" --project large
large=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
commit small
push 0
until_true 20 sh -c "assay status --json $large | grep -q '\"state\":\"unsatisfiable\"'"
assay status "$large" >"$scratch/out"
has out "4G of memory, the owner allows 512M"

say "a full queue: busy, exit 5, spooled; once there is room it goes"
kill "$pid"
wait "$pid" || true
kill -STOP "$(pgrep -f "assay-worker --dir $realm/worker-1\$")"
n=0
while [ $n -lt 5 ]; do
    n=$((n + 1))
    echo "q$n" >"$repo/n"
    commit "q$n"
    expect 0 assay push -C "$repo"
done
echo full >"$repo/n"
commit full
expect 5 assay --timeout 2s push -C "$repo"
has err "queue is full"
kill -CONT "$(pgrep -f "assay-worker --dir $realm/worker-1\$")"
sent() { assay --timeout 2s flush -C "$repo"; }
until_true 40 sent
built() { assay status --json | grep -q "$(git -C "$repo" rev-parse HEAD).*\"state\":\"trusted\""; }
until_true 30 built

say "several steps of one image and repository at once, as many as the owner lets it: none ends before all have begun"
down
printf 'steps = 3\n' >"$scratch/steps"
sed "/^\[worker\]/r $scratch/steps" "$realm/worker-1/worker.ini" >"$scratch/ini"
cp "$scratch/ini" "$realm/worker-1/worker.ini"
up
recipe <<'R'
image: IMAGE
steps:
  a: {run: sleep 54322}
  b: {run: sleep 54322}
  c: {run: sleep 54322}
R
commit many
expect 0 assay push -C "$repo"
many=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
all() { [ "$(pgrep -xfc 'sleep 54322')" -ge 3 ]; }
until_true 30 all
expect 0 assay cancel "$many"
down

say "the state in memory: the same, until the broker ends"
assay init "$scratch/mem" --isolation bwrap --workers 1 >/dev/null
printf 'state = mem\n' >>"$scratch/mem/broker/broker.ini"
export ASSAY_DIR="$scratch/mem"
realm=$scratch/mem
up
image
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
commit mem
push 0
[ ! -e "$realm/broker/state/state.db" ] || fail "it is on the disk"
down
up
[ -z "$(assay status --json)" ] || fail "it is still there"
done_ok
