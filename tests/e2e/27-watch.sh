#!/bin/sh
# assay watch --since: while events come in quickly, each watcher sees every event once and in order, from its number on: those that begin
# in the midst of it, where replay meets live, and one that was stopped for so long that the broker dropped what it did not take.
# And who has a higher priority gets the worker first, of whatever project.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
printf '[limits]\nsubscriber-queue = 100\n' >>"$realm/broker/broker.ini"
daemons
image
project p
{
    printf 'image: IMAGE\nsteps:\n'
    # long names fill what lies between broker and watcher sooner
    for n in $(seq 60); do echo "  step-$n-of-a-recipe-whose-steps-have-names-that-are-rather-long: {run: 'true'}"; done
} >"$scratch/many"
recipe <"$scratch/many"
commit many
newest() { timeout 100 assay watch --since 1 --until-idle --json 2>/dev/null | tail -n 1 | sed 's/.*"seq":\([0-9]*\).*/\1/'; }
push_all() { # PROJECT: submitted and cancelled, again and again
    n=0
    while [ $n -lt 15 ]; do
        n=$((n + 1))
        id=$(assay push -C "$repo" --project "$1" | grep -oE '[0-9a-f]{64}')
        assay cancel "$id" >/dev/null
    done
}
watchers=
watcher() { # NAME SINCE
    assay watch --since "$2" --json >"$scratch/$1.events" 2>"$scratch/$1.err" &
    echo "$2" >"$scratch/$1.since"
    watchers="$watchers $1"
    pids="$pids $!"
}
say "a flood of events, and watchers that begin before, in the midst of it, and behind its front"
watcher before 1
stopped=$!
seen_one() { [ -s "$scratch/before.events" ]; }
push_all p/a & a=$!
until_true 60 seen_one
kill -STOP "$stopped"
push_all p/b & b=$!
push_all p/c & c=$!
floods="$a $b $c"
n=0
while kill -0 "$a" 2>/dev/null; do
    n=$((n + 1))
    [ $n -gt 12 ] || watcher "midst-$n" $((n * n))
    sleep 0.3
done
for f in $floods; do wait "$f" || fail "a push or cancel failed"; done
kill -CONT "$stopped"
last=$(newest)
[ "$last" -gt 5000 ] || fail "only $last events: no flood"
say "$last events, $n looks"
for w in $watchers; do
    there() { tail -n 1 "$scratch/$w.events" | grep -q "\"seq\":$last,"; }
    until_true 60 there
    sed 's/.*"seq":\([0-9]*\).*/\1/' "$scratch/$w.events" >"$scratch/got"
    seq "$(cat "$scratch/$w.since")" "$last" >"$scratch/wanted"
    cmp -s "$scratch/got" "$scratch/wanted" || { diff "$scratch/wanted" "$scratch/got" | head -n 20; fail "$w (from $(cat "$scratch/$w.since") on): some are missing, double, or out of order"; }
done

say "priority: the higher first, of whatever project; those of one priority as they came"
recipe <<'R'
image: IMAGE
steps: {build: {run: "true"}}
R
commit one
order=
for what in a:0 b:0 c:5 a:9 b:5 a:1; do
    expect 0 assay push -C "$repo" --project "p/${what%:*}" --priority "${what#*:}"
    order="$order ${what#*:}:$(grep -oE '[0-9a-f]{64}' "$scratch/out")"
done
expect 2 assay push -C "$repo" --priority 10
has err "0 to 9"
echo "$order" | tr ' ' '\n' | grep : | sort -s -t: -k1,1nr | sed 's/.*://' >"$scratch/wanted"
start worker-1 assay-worker --dir "$realm/worker-1"
expect 0 assay watch --since "$((last + 1))" --until-idle --json
grep '"kind":"leased"' "$scratch/out" | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/' >"$scratch/got"
cmp -s "$scratch/got" "$scratch/wanted" || { diff "$scratch/wanted" "$scratch/got"; fail "not in the order of their priorities"; }
done_ok
