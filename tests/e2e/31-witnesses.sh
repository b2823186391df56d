#!/bin/sh
# Whoever fetches an artifact can ask that witnesses have seen its verdict: on the command line, or for the whole realm folder.
. "$(dirname "$0")/lib.sh"
realm --workers 2 --trusted 1
up
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
w1="--dir $realm/worker-1" w2="--dir $realm/worker-2"
echo 1 >"$repo/n"
commit one
push 0

say "nobody has seen it yet"
expect 0 assay get "$id/build" -d "$scratch/a"
expect 3 assay get --witnesses 1 "$id/build" -d "$scratch/b"
has err "witness"
[ ! -e "$scratch/b" ] || fail "something was fetched"
expect 2 assay get --witnesses 32 "$id/build" -d "$scratch/b"
expect 2 assay get --witnesses 1x "$id/build" -d "$scratch/b"

say "one witness, two"
expect 0 assay $w1 audit --cosign
expect 0 assay get --witnesses 1 "$id/build" -d "$scratch/b"
expect 3 assay get --witnesses 2 "$id/build" -d "$scratch/c"
expect 0 assay $w2 audit --cosign
expect 0 assay get --witnesses 2 "$id/build" -d "$scratch/c"

say "the realm folder's own number holds where no option says otherwise"
sed -i 's/^\[realm\]/&\nwitnesses = 2/' "$realm/realm.ini"
echo 2 >"$repo/n"
commit two
push 0
expect 3 assay get "$id/build" -d "$scratch/d"
has err "a newer one is needed"
expect 3 assay audit "$id/build"
expect 0 assay get --witnesses 0 "$id/build" -d "$scratch/d"
for w in "$w1" "$w2"; do expect 0 assay $w audit --cosign; done
expect 0 assay get "$id/build" -d "$scratch/e"
expect 0 assay audit "$id/build"
sed -i 's/^witnesses = 2/witnesses = many/' "$realm/realm.ini"
expect 2 assay audit
sed -i '/^witnesses/d' "$realm/realm.ini"

say "what is not trusted yet is in no log"
recipe <<'R'
image: IMAGE
policy: {agree: 3}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
token=$(assay token --role worker --name third --owner carol --project '*')
expect 0 assay --dir "$realm/third" enrol "$token"
commit three
push_only
until_true 30 sh -c "assay status --json $id | grep -q '\"support\":2'"
expect 0 assay get --provisional "$id/build" -d "$scratch/f"
expect 2 assay get --provisional --witnesses 1 "$id/build" -d "$scratch/g"
has err "in no log"
expect 0 assay audit "$id/build"
has out "provisional"
done_ok
