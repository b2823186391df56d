#!/bin/sh
# `make install` into a folder (DESTDIR), and assay run from there, as a package would be tried: a realm, an image, a push, its artifact; each
# program has its manual page, and is hardened.
. "$(dirname "$0")/lib.sh"
command -v make >/dev/null || { echo "skipped: no make"; exit 77; }
dest=$scratch/dest
make -C "$build" install DESTDIR="$dest" >"$scratch/install.log" 2>&1 || fail "make install"
bin=$(dirname "$(find "$dest" -type f -name assay -perm -u+x)")
PATH=$bin:$(echo "$PATH" | sed "s|^$build:||")
[ "$(command -v assay)" = "$bin/assay" ] || fail "assay is $(command -v assay)"

say "manual pages, units, completion"
for p in "$bin"/*; do
    [ -n "$(find "$dest" -name "${p##*/}.[18]")" ] || fail "no manual page of ${p##*/}"
done
for f in assay.yml.5 assay-broker.service assay.bash PROTOCOL.md THREATS.md; do
    [ -n "$(find "$dest" -name "$f")" ] || fail "no $f"
done

say "position independent, full RELRO, no executable stack, stack protector and fortified calls"
if grep -q '^#define ASSAY_SANITIZE' "$build/config.h"; then say "(a sanitized build is not)"
else
    for p in "$bin"/*; do
        readelf -hW "$p" | grep -q 'Type:.*DYN' || fail "$p: not PIE"
        readelf -lW "$p" | grep -q GNU_RELRO || fail "$p: no RELRO"
        readelf -lW "$p" | grep 'GNU_STACK' | grep -q 'RW ' || fail "$p: executable stack"
        readelf -dW "$p" | grep -q 'BIND_NOW' || fail "$p: not bound at the start"
        readelf -sW --dyn-syms "$p" | grep -q '__stack_chk_fail' || fail "$p: no stack protector"
        readelf -sW --dyn-syms "$p" | grep -qE '__[a-z]+_chk' || fail "$p: nothing is fortified"
    done
fi

say "a realm, run from there"
realm --workers 2 --trusted 1
up
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2, trusted: required}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo installed >"$repo/n"
commit one
push 0
expect 0 assay get "$id/build" -d "$scratch/got"
[ "$(cat "$scratch/got/n")" = installed ] || fail "content"
git clone -q --bare "$repo" "$scratch/p.git"
expect 0 assay hook install -C "$scratch/p.git"
grep -q "$bin/assay" "$scratch/p.git/hooks/post-receive.d/50-assay" || fail "the hook calls another assay"
done_ok
