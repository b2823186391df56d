#!/bin/sh
# Tokens, roles, policies, revocation, cancel, retry; services go on without the IDP.
. "$(dirname "$0")/lib.sh"
realm --workers 2 --trusted 1
up
image

say "a token works once, and gives what the admin said"
token=$(assay token --role worker --name extra --owner carol --project '*')
expect 0 assay --dir "$realm/extra" enrol "$token"
expect 2 assay --dir "$realm/extra" enrol "$token"
expect 4 assay --dir "$realm/thief" enrol "$token"
has err "used already"
expect 6 assay --dir "$realm/short" enrol "$(echo "$token" | cut -c1-100)"
old=$(assay token --role viewer --name late --expires 1s)
sleep 1.5
expect 4 assay --timeout 30s --dir "$realm/late" enrol "$old"
expect 2 assay token --role worker --name extra --owner dave
has err "taken"
expect 4 assay --dir "$realm/extra" token --role admin --name me
expect 0 assay who
has out carol
[ "$(stat -c %a "$realm/extra/keys")" = 600 ] || fail "mode of the keys"
! grep -rqF "$(echo "$token" | cut -c15-78)" "$scratch"/*.log || fail "a token's secret is in a log"
printf '[worker]\nfile-urls = yes\nisolation = bwrap\n' >"$realm/extra/worker.ini"
start extra assay-worker --dir "$realm/extra"

say "the floor holds for every recipe"
expect 0 assay policy --agree 2
project p
recipe <<'R'
image: IMAGE
policy: {agree: 1}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit one
push 0
expect 0 assay status "$id"
has out "2 of 2"
expect 0 assay policy --project p --agree 3 --trusted required
echo 2 >"$repo/n"
commit two
push 0
expect 0 assay status "$id"
has out "3 of 3 + trusted"
expect 0 assay policy --project p --json
has out '"policy":"in-force","agree":3'

say "a revoked key stops working on connections that are open, and is out of every draw"
viewer=$(assay token --role viewer --name eve --project p)
expect 0 assay --dir "$realm/eve" enrol "$viewer"
assay --dir "$realm/eve" watch --json >"$scratch/eve.out" 2>"$scratch/eve.log" &
watcher=$!
pids="$pids $watcher"
sleep 1
expect 0 assay revoke eve --reason "left"
expect 0 assay revoke extra
gone() { ! kill -0 $watcher 2>/dev/null; }
sleep 3
lines=$(wc -l <"$scratch/eve.out")
echo 3 >"$repo/n"
commit three
push 3
[ "$(state_of "$id" build)" = unsatisfiable ] || fail "carol's worker still counts"
sleep 1
[ "$(wc -l <"$scratch/eve.out")" = "$lines" ] || fail "a revoked subscriber still hears events"
expect 4 assay --timeout 30s --dir "$realm/eve" status
expect 0 assay who
has out "revoked since"

say "without the IDP all goes on"
kill -STOP "$(pgrep -f "assay-idp --dir $realm/idp")"
expect 0 assay policy --project q
echo 4 >"$repo/n"
commit four
expect 0 assay --timeout 30s push -C "$repo" --project q --wait
kill -CONT "$(pgrep -f "assay-idp --dir $realm/idp")"

say "cancel: at once, with its state; retry: built again"
recipe <<'R'
image: IMAGE
steps: {build: {run: sleep 60, artifacts: []}}
R
commit slow
expect 0 assay push -C "$repo" --project q
id=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
leased() { assay watch --since 1 --until-idle --json 2>/dev/null | grep -q x; }
until_true 10 sh -c "assay status --json $id | grep -q '\"state\":\"running\"'"
expect 0 assay cancel "$id"
until_true 10 sh -c "assay status --json $id | grep -q '\"state\":\"cancelled\"'"
expect 2 assay cancel "$id"
quiet() { ! pgrep -f 'sleep 60' >/dev/null; }
until_true 10 quiet
expect 0 assay retry "$id/build"
until_true 10 sh -c "assay status --json $id | grep -q '\"state\":\"running\"'"
expect 0 assay cancel "$(echo "$id" | cut -c1-12)"
until_true 10 sh -c "assay status --json $id | grep -q '\"state\":\"cancelled\"'"

say "a follower sees a log grow"
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done, artifacts: []}}
R
commit talk
expect 0 assay push -C "$repo" --project q
id=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
expect 0 assay log -f "$id/build"
has out "line 5"
done_ok
