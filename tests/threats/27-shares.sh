#!/bin/sh
# One submitter fills the queue and asks for the best priority: another's step does not wait for all of the first one's, who is told "busy"
# with the number beyond his share; what he sends then is spooled and goes out later; retries take a turn like the rest; all of that holds
# when the broker was killed in between.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 1 --trusted 1
printf '[limits]\nqueue-each = 8\n' >>"$realm/broker/broker.ini"
printf '[worker]\nsteps = 1\n' >>"$realm/worker-1/worker.ini"
daemons
start worker assay-worker --dir "$realm/worker-1"
worker_pid=$pid
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
for who in alice bob; do
    token=$(assay token --role submitter --name $who --project '*')
    expect 0 assay --dir "$realm/$who" enrol "$token"
done
echo 0 >"$repo/n"
commit zero
push 0
kill "$worker_pid" # so that all of it waits
wait "$worker_pid" || true
send() { # WHO N STATUS [OPTION...]
    echo "$1 $2" >"$repo/n"
    commit "$1 $2"
    want=$3 name=$1
    shift 3
    expect "$want" assay --dir "$realm/$name" --timeout 5s push -C "$repo" "$@"
    id=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
}

say "beyond a submitter's share: busy, with the numbers, and what to do; it is spooled"
for n in 1 2 3 4 5 6 7 8; do send alice $n 0 --priority 9; done
send alice 9 5
ninth=$id
has err "alice has 8 open steps, and may have 8"
say "another's is taken all the same, and soon after the flood's first"
send bob 1 0
bobs=$id
kill -9 "$broker_pid"
wait "$broker_pid" || true
start broker assay-broker --dir "$realm/broker"
broker_pid=$pid
expect 5 assay --dir "$realm/alice" --timeout 2s push -C "$repo"
has err "may have 8"
start worker assay-worker --dir "$realm/worker-1"
worker_pid=$pid
settled() { assay status --json | grep -c '"state":"trusted"' >"$scratch/n" && [ "$(cat "$scratch/n")" -ge 10 ]; }
until_true 120 settled
# leases in their order: the flood's first two at most may come before
assay watch --since 1 --kind leased --json --until-idle >"$scratch/leases"
at=$(grep -n "$bobs" "$scratch/leases" | head -n 1 | cut -d: -f1)
[ "$at" -le 4 ] || { cat "$scratch/leases"; fail "bob's step got lease $at of $(wc -l <"$scratch/leases")"; }

say "once there is room, what was spooled goes"
flushed() { assay --dir "$realm/alice" --timeout 5s flush -C "$repo" && assay status --json "$ninth" | grep -q '"state":"trusted"'; }
until_true 60 flushed

say "retried, cancelled, decided: the shares are what is open"
expect 0 assay --dir "$realm/alice" retry "$ninth/build"
until_true 60 flushed
kill "$worker_pid"
wait "$worker_pid" || true
send alice 10 0
expect 0 assay --dir "$realm/alice" retry "$ninth/build"
send bob 2 0
send bob 3 0
expect 0 assay --dir "$realm/bob" cancel "$id"
cancelled() { assay status --json "$id" | grep -q '"state":"cancelled"'; }
until_true 30 cancelled
kill "$broker_pid"
wait "$broker_pid" || true
python3 - "$realm/broker/state/state.db" >"$scratch/shares" <<'P'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT group_concat(submitter || ' ' || open, ', ') FROM (SELECT submitter, sum(open) AS open FROM share WHERE submitter <> '' GROUP BY submitter ORDER BY submitter)").fetchone()[0])
print(db.execute("SELECT group_concat(submitter || ' ' || n, ', ') FROM (SELECT submitter, sum(job <> 2) AS n FROM step JOIN submission ON submission.key = sub GROUP BY submitter ORDER BY submitter)").fetchone()[0])
P
[ "$(sed -n 1p "$scratch/shares")" = "$(sed -n 2p "$scratch/shares")" ] && grep -q 'alice 2, bob 1' "$scratch/shares" || { cat "$scratch/shares"; fail "the shares do not add up"; }
done_ok
