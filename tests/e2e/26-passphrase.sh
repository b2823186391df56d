#!/bin/sh
# A root key under a passphrase: made so by `assay init --passphrase`, no secret of it in the file, and an IDP that starts with it only.
. "$(dirname "$0")/lib.sh"
printf 'correct horse battery staple\nsecond line\n' >"$scratch/pass"
printf 'correct horse battery stable\n' >"$scratch/wrong"
: >"$scratch/empty"
setsid true 2>/dev/null || { echo "skipped: no setsid"; exit 77; }

say "without a passphrase there is nothing to protect it with: nothing is made"
expect 2 env ASSAY_ROOT_PASSPHRASE_FILE="$scratch/empty" assay init "$realm" --passphrase
has err "no passphrase"
[ ! -e "$realm/idp" ] || fail "something was made"

say "with one: the file holds no seed, and others cannot read it"
expect 0 env ASSAY_ROOT_PASSPHRASE_FILE="$scratch/pass" assay init "$realm" --workers 1 --passphrase
export ASSAY_DIR="$realm"
grep -q '^kdf = argon2id' "$realm/idp/root.key" || fail "not under Argon2id"
! grep -q '^seed' "$realm/idp/root.key" || fail "the seed is in the file"
[ "$(stat -c %a "$realm/idp/root.key")" = 600 ] || fail "mode"

say "the IDP starts with that passphrase only, and says what it needs"
expect 4 setsid -w assay-idp --dir "$realm/idp"
has err "ASSAY_ROOT_PASSPHRASE_FILE"
expect 4 env ASSAY_ROOT_PASSPHRASE_FILE="$scratch/wrong" assay-idp --dir "$realm/idp"
has err "the passphrase does not open it"
got=0
setsid -w timeout 60 assay up "$realm" >"$scratch/no.log" 2>&1 || got=$?
[ $got != 0 ] && [ $got != 124 ] || fail "assay up without a passphrase: $got"
grep -q "needs its passphrase" "$scratch/no.log" || fail "it does not say why"
export ASSAY_ROOT_PASSPHRASE_FILE="$scratch/pass"
up
expect 0 assay token --role viewer --name v
! grep -rq "battery" "$scratch"/*.log || fail "the passphrase is in a log"
done_ok
