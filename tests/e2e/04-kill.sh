#!/bin/sh
# SIGKILL to every process at random points while hundreds of pushes go on: at the end each push that was acknowledged has exactly
# one final verdict, and it is "trusted".   PUSHES, KILLS: how many (default 200, 40)
. "$(dirname "$0")/lib.sh"
pushes=${PUSHES:-200} kills=${KILLS:-40}
realm --workers 3 --trusted 1
for w in 1 2 3; do printf 'steps = 4\n' >>"$realm/worker-$w/worker.ini"; done
printf '[leases]\nsilence = 3s\nerrors = 50\n' >>"$realm/broker/broker.ini"

# one NAME: runs it, and again whenever it is killed, until the scenario ends
keep() {
    name=$1
    shift
    (
        trap 'kill -TERM $child 2>/dev/null; wait $child 2>/dev/null; exit 0' TERM
        while :; do
            "$@" >>"$scratch/$name.log" 2>&1 &
            child=$!
            echo $child >"$scratch/$name.pid"
            wait $child || true
            sleep 0.1
        done
    ) &
    pids="$pids $!"
    until_true 30 grep -qx ready "$scratch/$name.log"
}
all="idp store broker verifier worker-1 worker-2 worker-3"
for d in idp store broker verifier; do keep $d "assay-$d" --dir "$realm/$d"; done
for w in 1 2 3; do keep worker-$w assay-worker --dir "$realm/worker-$w"; done
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2, trusted: required}
steps:
  build:
    run: cp n /out/n
    artifacts: [n]
R

say "$pushes pushes, $kills kills"
(
    trap - EXIT
    n=0
    while [ $n -lt "$kills" ]; do
        n=$((n + 1))
        pick=$(($(od -An -N2 -tu2 /dev/urandom) % 7 + 1))
        victim=$(echo $all | cut -d' ' -f$pick)
        sleep 0.$(($(od -An -N1 -tu1 /dev/urandom) % 9 + 1))
        kill -9 "$(cat "$scratch/$victim.pid")" 2>/dev/null && echo "$victim"
    done >"$scratch/killed"
) &
killer=$!
n=0 sent=0
while [ $n -lt "$pushes" ] || kill -0 $killer 2>/dev/null; do
    n=$((n + 1))
    [ $n -le $((pushes * 5)) ] || break
    echo $n >"$repo/n"
    commit "$n"
    if assay --timeout 3s push -C "$repo" >"$scratch/push.out" 2>>"$scratch/push.log"; then
        grep -oE '^[0-9a-f]{64}' "$scratch/push.out" >>"$scratch/acknowledged"
        sent=$((sent + 1))
    fi
    # what was seen of the log of verdicts is never taken back, whoever is killed
    if [ $((n % 20)) = 0 ]; then
        seen=0
        assay --timeout 2s audit >/dev/null 2>"$scratch/audit.err" || seen=$?
        [ $seen != 6 ] || fail "audit: $(cat "$scratch/audit.err")"
    fi
done
wait $killer || true
until_true 60 assay flush -C "$repo"
say "$sent acknowledged at once; killed: $(sort "$scratch/killed" | uniq -c | tr -s ' \n' ' ')"

say "everything settles"
open() { assay status --json --limit 200 | grep -cE '"state":"(queued|running)","submitter"' || true; }
# However slow the machine is: what must not happen is that nothing moves any more.
before=$(open) left=600
while [ "$before" != 0 ]; do
    sleep 0.2
    now=$(open) left=$((left - 1))
    [ "$now" = "$before" ] || left=600
    before=$now
    [ $left -gt 0 ] || { assay status | head -n 20; fail "$now are still open"; }
done
timeout 60 assay watch --since 1 --until-idle --json >"$scratch/events" || fail "watch"
expect 0 assay audit
grep '"kind":"verdict"' "$scratch/events" | grep -E '"state":"(trusted|failed|unreproducible|unsatisfiable|cancelled|expired)"' \
    | sed 's/.*"id":"\([0-9a-f]*\)".*"state":"\([a-z]*\)".*/\1 \2/' | sort >"$scratch/verdicts"
sort "$scratch/acknowledged" >"$scratch/ack.sorted"
[ "$(uniq -d "$scratch/ack.sorted" | wc -l)" = 0 ] || fail "one id for two pushes"
[ "$(cut -d' ' -f1 "$scratch/verdicts" | uniq -d | wc -l)" = 0 ] || { cut -d' ' -f1 "$scratch/verdicts" | uniq -d | head; fail "two final verdicts for one push"; }
cut -d' ' -f1 "$scratch/verdicts" | comm -23 "$scratch/ack.sorted" - >"$scratch/lost"
[ ! -s "$scratch/lost" ] || { cat "$scratch/lost"; fail "$(wc -l <"$scratch/lost") acknowledged pushes have no verdict"; }
grep -v ' trusted$' "$scratch/verdicts" | cut -d' ' -f2 | sort | uniq -c >"$scratch/odd"
[ ! -s "$scratch/odd" ] || { cat "$scratch/odd"; fail "not all are trusted"; }
seq=$(sed 's/^{"seq":\([0-9]*\).*/\1/' "$scratch/events" | awk 'NR != $1 { print NR; exit }')
[ -z "$seq" ] || fail "the event log has a gap at $seq"
say "$(wc -l <"$scratch/ack.sorted") acknowledged pushes, $(wc -l <"$scratch/verdicts") verdicts, one each; $(wc -l <"$scratch/events") events without a gap"
done_ok
