#!/bin/sh
# assay image: an option in a package's name is not passed on; what is no archive, or one with names that leave the tree, harms nothing and is named.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 1 --trusted 1
up
for package in "--setup-hook=touch $scratch/owned" "-o" "a b" "../x" '$(touch owned)'; do
    expect 2 assay image build --kernel none --name x -- "$package"
    [ ! -e "$scratch/owned" ] || fail "a hook ran"
done
expect 2 assay image import --kernel none --name ../x "$scratch"
head -c 5000 /dev/urandom >"$scratch/noise.tar"
got=0
assay image import --kernel none --name x "$scratch/noise.tar" 2>"$scratch/err" || got=$?
[ $got != 0 ] || fail "noise is an image"
has err "failed"

say "names that leave the tree, and links to follow"
mkdir -p "$scratch/tree/deep"
echo evil >"$scratch/tree/evil"
ln -s "$scratch" "$scratch/tree/out"
tar -C "$scratch/tree/deep" -cPf "$scratch/evil.tar" ../evil
tar -C "$scratch/tree" -rPf "$scratch/evil.tar" out
tar -C "$scratch/tree" -rPf "$scratch/evil.tar" --transform "s|^evil|out/written|" evil
tar -C "$scratch/tree" -rPf "$scratch/evil.tar" --transform "s|^evil|$scratch/absolute|" evil
rm "$scratch/tree/evil"
TMPDIR=$scratch/tmp
export TMPDIR
mkdir "$TMPDIR"
assay image import --kernel none --name evil "$scratch/evil.tar" >"$scratch/out" 2>"$scratch/err" || say "refused: $(tail -n 1 "$scratch/err")"
[ ! -e "$scratch/written" ] && [ ! -e "$scratch/absolute" ] || fail "something was written outside"
[ -z "$(ls -A "$TMPDIR")" ] || fail "something is left"
say "the same tree as it should be is taken"
echo fine >"$scratch/tree/fine"
expect 0 assay image import --kernel none --name fine "$scratch/tree"
done_ok
