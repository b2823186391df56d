#!/bin/sh
# Garbage on every port, by an enrolled peer, by a stranger's key and by raw TCP: named errors, counted, logged once; nothing dies,
# nothing grows, and the next push is built.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 2 --trusted 1
mv "$realm/worker-2" "$realm/hostile"
up
image
rss() { for d in idp broker store verifier; do awk '/VmRSS/ { print $2 }' "/proc/$(pgrep -f "assay-$d --dir $realm/$d\$")/status"; done | awk '{ s += $1 } END { print s }'; }
before=$(rss)
for role in idp broker store verifier; do
    say "$role: frames that are no messages"
    expect 0 hostile garbage "$realm/hostile" $role 1200
    for code in malformed version unknown-type oversized; do has out "$code "; done
    expect 0 hostile stranger "$realm/hostile" $role
    has out refused
done
say "raw bytes on every port"
for port in $(grep -hoE 'tcp://[0-9.:]+' "$realm"/*/realm.ini "$realm"/*/*.ini | sort -u); do expect 0 hostile tcp "$port" 300; done
after=$(rss)
say "memory of the services: $before KiB before, $after KiB after"
[ "$after" -lt $((before + 300000)) ] || fail "they grew"
n=$(grep -c 'refused peer=worker-2' "$scratch/up.log" || true)
[ "$n" -ge 4 ] && [ "$n" -le 12 ] || fail "$n lines in the log for thousands of bad frames: once a peer and minute is right"
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit one
push 0
done_ok
