#!/bin/sh
# A store whose bytes were changed, a full disk, a quota; and who may read what: a deployer only what is trusted, a viewer only its
# projects, a worker only what its lease names, --provisional only with the role.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 3 --trusted 1
mkdir -p "$realm/store/state"
mount -t tmpfs -o size=48m,mode=0700 none "$realm/store/state"
printf '[limits]\nfree-floor = 4M\n' >>"$realm/store/store.ini"
up
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo secret-bits >"$repo/n"
commit one
push 0
one=$id

say "roles"
for who in deployer:p viewer:other; do
    expect 0 sh -c "assay token --role ${who%:*} --name ${who%:*} --project ${who#*:} >$scratch/token"
    expect 0 assay --dir "$realm/${who%:*}" enrol "$(cat "$scratch/token")"
done
expect 0 assay --dir "$realm/deployer" get "$one/build" -d "$scratch/deployed"
[ "$(cat "$scratch/deployed/n")" = secret-bits ] || fail "content"
got=0
assay --dir "$realm/viewer" get "$one/build" -d "$scratch/no" 2>"$scratch/err" || got=$?
[ $got != 0 ] && [ ! -e "$scratch/no/n" ] || fail "a viewer of another project reads it"
say "not trusted yet: nothing for the deployer, and for a submitter only when it says so"
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: "cp n /out/n; [ ! -e /src/slow ] || sleep 600", artifacts: [n], labels: {}}}
R
# two of three owners are stopped: the vote of the third makes it provisional
for w in 2 3; do kill -STOP "$(pgrep -f "assay-worker --dir $realm/worker-$w\$")"; done
echo provisional-bits >"$repo/n"
commit two
expect 0 assay push -C "$repo"
two=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
until_true 30 sh -c "assay status --json $two | grep -q '\"state\":\"provisional\"'"
expect 3 assay get "$two/build" -d "$scratch/p1"
expect 3 assay --dir "$realm/deployer" get "$two/build" -d "$scratch/p2"
got=0
assay --dir "$realm/deployer" get "$two/build" --provisional -d "$scratch/p3" >"$scratch/out" 2>&1 || got=$?
[ $got != 0 ] && [ ! -e "$scratch/p3/n" ] || fail "a deployer got what is not trusted"
expect 0 assay get "$two/build" --provisional -d "$scratch/p4"
[ "$(cat "$scratch/p4/n")" = provisional-bits ] || fail "provisional content"
for w in 2 3; do kill -CONT "$(pgrep -f "assay-worker --dir $realm/worker-$w\$")"; done
until_true 40 sh -c "assay status --json $two | grep -q '\"state\":\"trusted\"'"

say "full disk: the step's upload is refused, nothing of it is believed; with room again it is built"
dd if=/dev/zero of="$realm/store/state/filler" bs=1M 2>/dev/null || true
echo more-bits >"$repo/n"
commit three
expect 0 assay push -C "$repo"
three=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
until_true 60 sh -c "timeout 2 assay watch --since 1 --json 2>/dev/null | grep -q '$three.*' && assay watch --since 1 --json 2>/dev/null & sleep 1; timeout 1 assay watch --since 1 --json | grep '$three' | grep -q '\"kind\":\"error\"'"
[ "$(state_of "$three" build)" != trusted ] || fail "trusted without a store"
rm "$realm/store/state/filler"
until_true 90 sh -c "assay status --json $three | grep -qE '\"state\":\"(trusted|unsatisfiable)\"'"
[ "$(state_of "$three" build)" = trusted ] || { expect 0 assay retry "$three/build"; until_true 60 sh -c "assay status --json $three | grep -q '\"state\":\"trusted\"'"; }
expect 0 assay get "$one/build" -d "$scratch/again"

say "changed bytes: found on read, set aside, never served; and by the check"
blob=$(grep -rl secret-bits "$realm/store/state" | head -n 1)
chmod u+w "$blob"
printf 'Secret-bits\n' >"$blob"
expect 6 assay get "$one/build" -d "$scratch/bad"
[ ! -e "$scratch/bad/n" ] || fail "changed bytes were served"
[ ! -e "$blob" ] || fail "the damaged blob is still in its place"
blob=$(grep -rl provisional-bits "$realm/store/state" | head -n 1)
chmod u+w "$blob"
printf 'Xrovisional-bits\n' >"$blob"
got=0
assay --dir "$realm/store" store check >"$scratch/out" 2>"$scratch/err" || got=$?
[ $got = 6 ] || { cat "$scratch/out" "$scratch/err"; fail "check gave $got"; }
! assay get "$two/build" -d "$scratch/bad2" 2>"$scratch/err" || fail "what was set aside is served"
done_ok
