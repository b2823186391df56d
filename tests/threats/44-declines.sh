#!/bin/sh
# A worker that takes leases and does none: declines them, hands them back, or comes again and knows of nothing. The third in a row costs it its turns for
# a while, the next one twice as long: meanwhile it asks, and gets nothing, and others get the work; then it gets leases again. A result in between, and
# all is as before; and what an honest owner takes back at once counts as one.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 2 --trusted 0
printf '[leases]\ndecline-pause = 1s\nsideline = 4s\n' >>"$realm/broker/broker.ini"
daemons
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {matrix: {a: [1, 2, 3, 4, 5, 6, 7, 8], b: [1, 2, 3, 4, 5, 6, 7]}, run: sleep 4}}
R
commit many
push_only
liar() { expect 0 hostile "$@"; }
events() { timeout 2 assay watch --since 1 --json >"$scratch/ev" || true; }
told() { grep '"kind":"sidelined"' "$scratch/ev" | grep -c '"worker":"worker-1"' || true; }

say "a result in between: it is nobody that does nothing"
for n in 1 2 3; do
    liar decline "$realm/worker-1" decline 2
    liar vote "$realm/worker-1" 1 - 0
done
events
[ "$(grep -c '"kind":"declined"' "$scratch/ev")" = 6 ] && [ "$(told)" = 0 ] || fail "$(cat "$scratch/ev")"

say "again and again, while another one works"
sed -i 's/^\[worker\]/&\nsteps = 3\non-pause = hand-back/' "$realm/worker-2/worker.ini"
start two assay-worker --dir "$realm/worker-2"
liar decline "$realm/worker-1" decline 3
liar decline "$realm/worker-1" handback 1
liar decline "$realm/worker-1" leave 1
until_true 2 sh -c "timeout 2 assay watch --since 1 --json | grep '\"kind\":\"sidelined\"' | grep -q '5 leases in a row'"
events
/usr/bin/python3 - "$scratch/ev" <<'P' || fail "see above"
import datetime, json, sys

events = [json.loads(line) for line in open(sys.argv[1])]
for e in events:
    e["at"] = datetime.datetime.fromisoformat(e["time"].replace("Z", "+00:00")).timestamp()
told = [e for e in events if e["kind"] == "sidelined"]
assert [e["worker"] for e in told] == 3 * ["worker-1"] and {e["owner"] for e in told} == {"owner-1"}, told
for n, e in enumerate(told):
    assert f"{n + 3} leases in a row" in e["reason"] and e["reason"].endswith(f"none for {4 << n} s"), e
leased = [e for e in events if e["kind"] == "leased"]
got = 0
for n in range(2):
    begin, pause = told[n]["at"], 4 << n
    its = [e["at"] - begin for e in leased if e["worker"] == "worker-1" and e["at"] > begin]
    others = [e for e in leased if e["worker"] == "worker-2" and begin < e["at"] < begin + pause]
    print(f"pause {n + 1} of {pause} s: its next lease after {its[0]:.1f} s; {len(others)} leases to the other one meanwhile")
    assert its[0] > pause - 0.2, "it got a lease in its pause"
    got += len(others)
assert got, "nobody got the work"
P
say "what one holds at once and gives back is one, and not three"
assay cancel "$id" >"$scratch/out" 2>&1 || true # whatever is left
recipe <<'R'
image: IMAGE
steps: {build: {matrix: {a: [1, 2, 3]}, run: sleep 54325}}
R
commit long
push_only
running() { [ "$(pgrep -xfc 'sleep 54325')" -ge 3 ]; }
of() { grep "$id" "$scratch/ev" | grep '"worker":"worker-2"' | grep -c "\"kind\":\"$1\"" || true; }
until_true 30 running
expect 0 assay worker --dir "$realm/worker-2" pause
back() { events; [ "$(of handed-back)" = 3 ]; }
until_true 2 back
expect 0 assay worker --dir "$realm/worker-2" resume
until_true 30 running
events
[ "$(of leased)" = 6 ] && [ "$(of sidelined)" = 0 ] || fail "$(grep "$id" "$scratch/ev")"
expect 0 assay cancel "$id"
done_ok
