#!/bin/sh
# A broker that would choose who builds: it draws until it likes what comes out, leaves workers out, gives the lease to another, keeps a draw to itself,
# or writes what is no record at all. Its log is altered under it, one lie after the other; `assay draw` names each, with exit status 6. Before that, and
# after the lies, all is well: the same step is honest.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 3 --trusted 0
start idp assay-idp --dir "$realm/idp"
for d in store broker verifier worker-1 worker-2 worker-3; do
    case $d in worker-*) start "$d" assay-worker --dir "$realm/$d" ;; *) start "$d" "assay-$d" --dir "$realm/$d" ;; esac
    eval "pid_$(echo "$d" | tr - _)=$pid"
done
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: "true"}, other: {run: "true"}}
R
commit one
push 0
expect 0 assay draw "$id/build"
has out "follows from its seed"
expect 0 assay draw "$id/other"
expect 0 assay draw --json "$id/build"
draw=$(cat "$scratch/out")
# anybody can compute the seed: submission, no lease yet, name
seed=$(/usr/bin/python3 -c 'import hashlib, sys; print(hashlib.sha256(b"assay-draw-1\n" + bytes.fromhex(sys.argv[1]) + bytes(8) + b"build").hexdigest())' "$id")
has out "\"seed\":\"$seed\""
for p in "$pid_broker" "$pid_worker_1" "$pid_worker_2" "$pid_worker_3"; do kill "$p"; wait "$p" || true; done
cp -r "$realm/broker/state" "$scratch/state"

lie() { # NAME WHAT-IS-SAID: its log, altered, and the broker on it
    rm -rf "$realm/broker/state"
    cp -r "$scratch/state" "$realm/broker/state"
    DRAW=$draw /usr/bin/python3 - "$realm/broker/state/state.db" "$1" <<'P'
import json, os, sqlite3, sys

draw, lie = json.loads(os.environ["DRAW"]), sys.argv[2]
seed, fit, picked = bytes.fromhex(draw["seed"]), draw["fit"].split(), draw["picked"].split()
left = [w for w in fit if w not in picked][0].encode()
first = picked[0].encode()
db = sqlite3.connect(sys.argv[1])
done = False
for last, page in db.execute("SELECT last, entries FROM event_page ORDER BY last").fetchall():
    at = page.find(seed)
    if at < 0 or done:
        continue
    before, kind = page[:at], page.rfind(b"drawn", 0, at)

    def after(old, new, start=at):
        """the first one behind it"""
        where = page.index(old, start)
        assert len(old) == len(new)
        return page[:where] + new + page[where + len(old) :]

    page = {
        "none": lambda: page,
        "seed": lambda: after(seed, bytes(32 * [1])),
        "left-out": lambda: after(first + b" owner", b"worker-0 owner"),
        "picked": lambda: after(b"\xa8" + first, b"\xa8" + left),
        "leased": lambda: after(b"\xa8" + first, b"\xa8" + left, page.index(b"leased", at)),
        "unled": lambda: after(b"leased", b"loosed"),
        "hidden": lambda: after(b"drawn", b"drown", kind),
        "record": lambda: after(b"\xc4\x20" + seed, b"\xc4\x1f" + seed, at - 2),
        "event": lambda: after(b"\xa5drawn", b"\xa9drawn", kind - 1),
    }[lie]()
    db.execute("UPDATE event_page SET entries = ? WHERE last = ?", (page, last))
    done = True
db.commit()
db.close()
assert done, "no draw in the log"
P
    start lying assay-broker --dir "$realm/broker"
    got=0
    assay draw "$id/build" >"$scratch/out" 2>"$scratch/err" || got=$?
    assay draw --json "$id/build" >"$scratch/json" 2>/dev/null || true
    kill "$pid"
    wait "$pid" || true
    say "$1: $(cat "$scratch/err" "$scratch/out" | tr '\n' '|')"
    if [ "$1" = none ]; then
        [ $got = 0 ] || fail "an honest log, with status $got"
        return
    fi
    [ $got = 6 ] || fail "status $got"
    [ "$(wc -l <"$scratch/err")" = 1 ] || fail "not one line"
    grep -q '^assay: draw: ' "$scratch/err" || fail "what is wrong?"
    cat "$scratch/err" >>"$scratch/out"
    has out "$2"
    [ "$1" = event ] || grep -q '"follows":false' "$scratch/json" || fail "--json does not say so"
}
lie none
lie seed "its seed is another than the step's"
lie left-out "$(case $draw in *'"picked":"worker-1'*) echo "other workers follow from its seed" ;; *) echo "its workers are not in order" ;; esac)"
lie picked "other workers follow from its seed"
lie leased "a lease that no draw gave"
lie unled "a worker that was drawn got no lease"
lie hidden "a lease that no draw gave"
lie record "its record is malformed"
lie event "an event of the broker's log is damaged"
lie none
done_ok
