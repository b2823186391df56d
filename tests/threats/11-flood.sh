#!/bin/sh
# A peer that asks without end and reads no answer holds up nobody, and what is kept for it is bounded.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
no_quarantine
realm --workers 2 --trusted 1
mv "$realm/worker-2" "$realm/hostile"
up
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
for n in 1 2 3 4 5 6 7 8; do # so that there is much to ask for
    echo "$n" >"$repo/n"
    commit "$n"
    push 0
done
peak() { awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$(pgrep -f "assay-$1 --dir $realm/$1\$")/status"; }
for role in broker store verifier idp; do
    hostile flood "$realm/hostile" $role 4 >"$scratch/flood.$role.log" 2>&1 &
    flood=$!
    sleep 0.5
    echo $role >"$repo/n"
    commit $role
    push 0
    wait $flood || true
    say "$role: $(cat "$scratch/flood.$role.log"), a push went through meanwhile; peak memory $(peak $role) MiB"
    [ "$(peak $role)" -lt 400 ] || fail "$role grew to $(peak $role) MiB"
done
done_ok
