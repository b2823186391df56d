#!/bin/sh
# Subscribers that never read, and a verifier that is stopped while far more events are published than are kept for it: the broker does not
# grow, nobody waits, and the verifier decides everything once it goes on.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
no_quarantine
realm --workers 2 --trusted 1
printf '[limits]\nsubscriber-queue = 20\n' >>"$realm/broker/broker.ini"
up
image
project p
{
    printf 'image: %s\nsteps:\n' "$image"
    for step in one two; do
        printf '  %s:\n    artifacts: [n]\n    run: |\n      cp n /out/n\n' $step
        i=0
        while [ $i -lt 600 ]; do
            printf '      # a long line that makes the submission large, number %06d .....................\n' $i
            i=$((i + 1))
        done
    done
} >"$repo/.assay.yml"
echo 1 >"$repo/n"
commit one
for i in 1 2 3 4 5; do start mute$i hostile mute "$realm"; done
verifier=$(pgrep -f "assay-verifier --dir $realm/verifier\$")
broker=$(pgrep -f "assay-broker --dir $realm/broker\$")
before=$(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$broker/status")
kill -STOP "$verifier"
n=0
while [ $n -lt 120 ]; do
    n=$((n + 1))
    assay push -C "$repo" >/dev/null 2>"$scratch/err" || { cat "$scratch/err"; fail "push $n"; }
done
# Each submission is nearly 100 KB: 120 of them are far more than sockets and queue hold.
after=$(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$broker/status")
say "broker: $before MiB before, $after MiB with 5 mute subscribers and a stopped verifier behind 120 large events"
[ "$after" -lt $((before + 400)) ] || fail "it grew"
say "a subscriber that asks for topics without end: they are let go, and whoever listens goes on listening"
assay watch --kind verdict --json >"$scratch/watch.json" 2>"$scratch/watch.err" &
pids="$pids $!"
start topics hostile topics "$realm" 60000
told() { grep -q 'too many topics' "$scratch/up.log"; }
until_true 60 told
grown=$(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$broker/status")
say "broker: $grown MiB"
[ "$grown" -lt $((after + 450)) ] || fail "it grew to $grown MiB"
kill -CONT "$verifier"
heard() { [ "$(grep -c '"kind":"verdict"' "$scratch/watch.json")" -ge 120 ]; }
until_true 120 heard
settled() { [ "$(assay status --json --limit 200 | grep -c '"state":"trusted","submitter"')" = 120 ]; }
until_true 120 settled
done_ok
