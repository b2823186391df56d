#!/bin/sh
# A pushed commit comes back trusted: hook, submission, three owners, sandboxed builds, verdict, artifact, offline check.
. "$(dirname "$0")/lib.sh"
realm --workers 3 --trusted 1
up
image

say "a push by hand is built by two owners, one of them trusted"
project hello
recipe <<'R'
image: IMAGE
policy: {agree: 2, trusted: required}
steps:
  build:
    run: |
      echo "building in $(pwd) as $(id -u)"
      mkdir -p /out/doc
      tr a-z A-Z < hello.txt > /out/hello
      cp hello.txt /out/doc/hello.txt
      chmod +x /out/hello
    artifacts: [hello, doc/hello.txt]
R
echo "hello, world" >"$repo/hello.txt"
commit
push 0
first=$id
[ "$(state_of "$first" build)" = trusted ] || fail "state"
expect 0 assay get "$first/build" -d "$scratch/got"
[ "$(cat "$scratch/got/hello")" = "HELLO, WORLD" ] && [ -x "$scratch/got/hello" ] || fail "content"
expect 0 assay log "$first/build"
has out "building in /src as"

say "status, watch and who speak JSON with the fields that scripts rely on"
expect 0 assay status --json "$first"
for f in id project commit ref state steps; do has out "\"$f\":"; done
for f in name state digest agree support dissent trusted_required votes reason; do has out "\"$f\":"; done
expect 0 assay watch --since 1 --until-idle --json
for f in seq time kind project id step state worker owner digest reason; do has out "\"$f\":"; done
grep -c '"kind":"verdict"' "$scratch/out" >/dev/null || fail "no verdict in the stream"
expect 0 assay watch --since 1 --until-idle
has out "artifact-completed"

say "offline: root key, roster, bundle, artifact"
expect 0 assay attest "$first/build" -o "$scratch/bundle" --roster "$scratch/roster"
expect 0 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/bundle" "$scratch/got"
has out trusted
echo changed >>"$scratch/got/hello"
expect 6 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/bundle" "$scratch/got"
sed 's/"payload":"ey/"payload":"eY/' "$scratch/bundle" >"$scratch/bundle.bad"
expect 6 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/bundle.bad"
head -c 700 "$scratch/roster" >"$scratch/roster.bad"
expect 6 assay verify --root "$realm/realm.ini" "$scratch/roster.bad" "$scratch/bundle"
assay init "$scratch/other" >/dev/null
grep -qx 'isolation = qemu' "$scratch/other/worker-1/worker.ini" || fail "a fresh worker may use less than a VM, and its owner did not say so"
expect 6 assay verify --root "$scratch/other/realm.ini" "$scratch/roster" "$scratch/bundle"

say "git push through the hook of a bare repository"
git clone -q --bare "$repo" "$scratch/hello.git"
expect 0 assay hook install -C "$scratch/hello.git"
git -C "$repo" remote add origin "$scratch/hello.git"
echo "hello, hook" >"$repo/hello.txt"
commit "from the hook"
git -C "$repo" push -q origin main 2>"$scratch/push.log"
hooked() { assay status --json | head -n 1 | grep -q "$(git -C "$repo" rev-parse HEAD).*\"state\":\"trusted\""; }
until_true 30 hooked
say "[skip ci] and -o ci.skip send nothing"
count() { assay status --json --limit 200 | wc -l; }
before=$(count)
git -C "$scratch/hello.git" config receive.advertisePushOptions true
commit "nothing to build [skip ci]"
git -C "$repo" push -q origin main
commit "nor here"
git -C "$repo" push -q -o ci.skip origin main
sleep 1
[ "$(count)" = "$before" ] || fail "something was sent"

say "a step that fails is failed when owners agree: exit 1, and its reason is kept"
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps:
  build:
    run: |
      echo "this goes wrong"; exit 3
R
commit fails
push 1
[ "$(state_of "$id" build)" = failed ] || fail "state"
expect 1 assay get "$id/build"
expect 0 assay log "$id/build"
has out "this goes wrong"

say "more owners asked for than exist: unsatisfiable at once, with both numbers"
recipe <<'R'
image: IMAGE
policy: {agree: 5}
steps: {build: {run: "true"}}
R
commit greedy
push 3
[ "$(state_of "$id" build)" = unsatisfiable ] || fail "state"
expect 0 assay status "$id"
has out "asks for 5 owners, and 3 have"

say "recipes that are wrong are refused with their place, and nothing is sent"
before=$(count)
printf 'image: box\nsteps:\n  build:\n    runn: x\n' >"$repo/.assay.yml"
commit wrong
push 2
has err ".assay.yml:"
printf 'image: %s\nsteps:\n  a: {needs: [b], run: x}\n  b: {needs: [a], run: x}\n' "$image" >"$repo/.assay.yml"
commit cycle
push 2
[ "$(count)" = "$before" ] || fail "something was sent"

say "what is not there has its exit status"
expect 4 assay --dir "$realm/worker-1" push -C "$repo" HEAD~4
expect 2 assay get nonsense
expect 2 assay frobnicate
down
expect 5 assay status
has err "no broker at tcp://"
done_ok
