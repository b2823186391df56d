#!/bin/sh
# A test that may start on a build that nobody vouches for yet, where its policy names VMs for it: a worker with bwrap, which has voted and asks, is never
# given it, though it gets other work meanwhile; one that gives VMs gets it at once. What counts is what the signed result says: a result made under
# bwrap is refused, and names who sent it.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 3 --trusted 0
printf '[leases]\nsilence = 3s\n' >>"$realm/broker/broker.ini"
daemons
image
project p
is() { [ "$(state_of "$1" "$2")" = "$3" ]; }
events() { timeout 2 assay watch --since 1 --json >"$scratch/ev" || true; }
leases() { grep '"kind":"leased"' "$scratch/ev" | grep "$1" | grep "\"step\":\"$2\"" | grep -c "$3" || true; }
job() {
    recipe <<'R'
image: IMAGE
steps:
  build: {policy: {agree: 3}, run: cp n /out/n, artifacts: [n]}
  test: {needs: [build], start: provisional, policy: {agree: 1, isolation: qemu}, run: grep -q right /in/build/n}
R
    echo right >"$repo/n"
    commit "$1"
    expect 0 assay push -C "$repo"
}
job one
id=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
say "two owners vote: one gives VMs, one bwrap, which stays and asks"
expect 0 hostile claim "$realm/worker-2" qemu 1 right 0
start one assay-worker --dir "$realm/worker-1"
voted() { assay status --json "$id" | grep -q '"name":"build","state":"provisional".*"support":2'; }
until_true 40 voted
recipe <<'R'
image: IMAGE
steps: {control: {run: 'true'}}
R
commit control
expect 0 assay push -C "$repo"
control=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
until_true 40 is "$control" control trusted
events
[ "$(leases "$control" control '"worker":"worker-1"')" = 1 ] || fail "it did not even ask"
is "$id" build provisional && is "$id" test pending || fail "$(assay status "$id")"
[ "$(leases "$id" test .)" = 0 ] || fail "the test was leased where there is no VM: $(grep "$id" "$scratch/ev" | grep '"step":"test"')"


say "one that gives VMs has it at once"
expect 0 hostile claim "$realm/worker-2" qemu 1 - 0
until_true 30 is "$id" test provisional
events
[ "$(leases "$id" test '"worker":"worker-2"')" = 1 ] && [ "$(leases "$id" test .)" = 1 ] || fail "$(grep "$id" "$scratch/ev" | grep '"kind":"leased"')"

say "one that says VMs in its offer, and bwrap in its result: refused, and named"
job two
id=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
expect 0 hostile claim "$realm/worker-2" qemu 1 right 0
until_true 40 voted
expect 0 hostile claim "$realm/worker-2" qemu-offered 1 - 0
refused() { events; grep "$id" "$scratch/ev" | grep '"kind":"refused"' | grep '"step":"test","worker":"worker-2","owner":"owner-2"' | grep -q "its isolation bwrap is weaker than the policy's qemu"; }
until_true 3 refused
is "$id" test pending || fail "it counted"
done_ok
