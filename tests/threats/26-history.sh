#!/bin/sh
# A long history is no lever: who asks, again and again, for events that are not his has the broker look at a bounded number of them in each
# turn, so that a push goes through while he asks; and whoever looks for one verdict behind all of them finds it.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
no_quarantine
realm --workers 2 --trusted 1
mv "$realm/worker-2" "$realm/hostile"
daemons worker-1
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit 1
push 0
kill "$broker_pid"
wait "$broker_pid" || true
/usr/bin/python3 - "$realm/broker/state/state.db" <<'P'
import sqlite3, struct, sys
db = sqlite3.connect(sys.argv[1])
def entries(page):
    while page:
        n, name = struct.unpack(">IB", page[:5])
        yield page[5 + name:5 + name + n]
        page = page[5 + name + n:]
body = max((b for (page,) in db.execute("SELECT entries FROM event_page") for b in entries(page)), key=len)
last = db.execute("SELECT max(last) FROM event_page").fetchone()[0]
entry = lambda project: struct.pack(">IB", len(body), len(project)) + project + body
# ten in a page
db.executemany("INSERT INTO event_page (last, first, entries) VALUES (?, ?, ?)",
               ((last + i + 10, last + i + 1, 10 * entry(b"p" if i % 60000 < 30000 else b"other")) for i in range(0, 60000, 10)))
db.commit()
P
start broker assay-broker --dir "$realm/broker"
broker_pid=$pid
echo 2 >"$repo/n"
commit 2
push 0 # verifier and store have gone through it
hostile history "$realm/hostile" 40 >"$scratch/flood.log" 2>&1 &
flood=$!
echo 3 >"$repo/n"
commit 3
push 0
kill -0 "$flood" 2>/dev/null || fail "the push took as long as the questions went on"
kill "$flood"
say "a push went through while another asked for what is not his"
peak() { awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$broker_pid/status"; }
before=$(peak)
hostile flood "$realm/hostile" broker 5 >"$scratch/flood.log" 2>&1
say "large answers that nobody read: the broker had $before MiB at most, and then $(peak)"
[ "$(peak)" -lt $((before + 250)) ] || fail "what was not read was kept"
kill "$verifier_pid"
wait "$verifier_pid" || true
expect 0 assay get "$id/build" -d "$scratch/got"
done_ok
