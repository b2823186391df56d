#!/bin/sh
# Others check a verdict without assay: in-toto-verify counts the owners' links (threshold N), refuses one link fewer, a link that was altered and an
# artifact that was; openssl checks a DSSE signature, and a few lines of Python recompute the digest of an artifact, by the manual's commands.
. "$(dirname "$0")/lib.sh"
for p in in-toto-verify in-toto-sign in-toto-keygen openssl python3 base64; do command -v $p >/dev/null || { echo "skipped: no $p (deploy/install-deps)"; exit 77; }; done
here=$(cd "$(dirname "$0")" && pwd)
manual=${srcdir:-$here/../..}/doc/assay-bundle.5.scd
realm --workers 4 --trusted 1
up
image
project hello
recipe <<'R'
image: IMAGE
policy: {agree: 3, trusted: required}
steps:
  lib:
    run: echo lib >/out/lib.a
    artifacts: [lib.a]
  build:
    needs: [lib]
    run: |
      mkdir -p /out/doc /out/bin
      cat hello.txt /in/lib/lib.a > /out/bin/hello
      chmod +x /out/bin/hello
      cp hello.txt "/out/doc/read \"me\".txt"
      ln -s ../bin/hello /out/doc/latest
      ln -s latest /out/doc/newest
      ln -s bin /out/tools
      : >/out/doc/empty
    artifacts: [bin, doc, tools]
R
echo "hello, wörld" >"$repo/hello.txt"
commit
push 0
expect 0 assay get "$id/build" -d "$scratch/got"
expect 0 assay attest "$id/build" -o "$scratch/build.intoto.jsonl" --roster "$scratch/roster"
expect 0 assay attest "$id/build" --format in-toto-link -o "$scratch/links"
has out "3 links"

say "in-toto-verify accepts them once somebody has signed the layout"
cd "$scratch"
in-toto-keygen -t ed25519 owner >/dev/null 2>&1
in-toto-sign -f links/build.layout -k owner -t ed25519 -o root.layout >/dev/null 2>&1 || fail "in-toto-sign"
intoto() {
    want=$1
    shift
    rm -rf copy
    cp -r "$1" copy # in-toto leaves a file there
    shift
    set -- copy "$@"
    expect "$want" sh -c 'cd "$1" && exec in-toto-verify -l ../root.layout -k ../owner.pub -t ed25519 --link-dir "../$2"' sh "$@"
}
intoto 0 got links

say "it refuses one link fewer, an altered link, one that another worker signed for"
cp -r links fewer
rm "$(find fewer -name '*.link' | head -n 1)"
intoto 1 got fewer
has err "requires '3' link metadata file(s), found '2'"
cp -r links altered
one=$(find altered -name '*.link' | head -n 1)
sed -i 's/"return-value":0/"return-value":1/' "$one"
intoto 1 got altered
cp -r links other
set -- other/*.link
cp "$1" "$2"
intoto 1 got other

say "it refuses an artifact that was changed, that lacks a file, that has one more"
cp -r got changed
echo more >>changed/bin/hello
intoto 1 changed links
cp -r got lacks
rm "lacks/doc/read \"me\".txt"
intoto 1 lacks links
has err "read"
cp -r got extra
: >extra/new
intoto 1 extra links

say "assay verify takes the same links, and refuses what is wrong with them"
verify() { want=$1; shift; expect "$want" assay verify --root "$realm/realm.ini" roster build.intoto.jsonl "$@"; }
verify 0 links/*.link got
has out "is what its signer's result gives"
verify 0 links/*.link # without the artifact there is nothing that they could be compared with: it does not say that they were
has out "not compared with the artifact"
verify 6 altered/*.link
has err "altered"
set -- links/*.link
verify 6 "$1" "$1"
has err "by the same key"
head -c 300 "$1" >cut.link
verify 6 cut.link
has err "not JSON"
: >empty.link
verify 6 empty.link
sed 's/"keyid":"....../"keyid":"000000/' "$1" >who.link
verify 6 who.link
has err "no worker of the bundle"
sed 's/^{/{"x":1,/' "$1" >more.link
verify 6 more.link
sed 's/"return-value":0/"return-value":0.5/' "$1" >real.link
verify 6 real.link
verify 6 changed "$1"

say "the manual's commands: openssl alone checks the signature of each statement"
# the block of the manual between ``` that begins with the marker
commands() { awk -v marker="$1" '/^```$/ { if (on && found) exit; on = !on; found = 0; text = ""; next } on && index($0, marker) { found = 1 } on { text = text $0 "\n" } END { printf "%s", text }' "$manual"; }
commands '# signature' >signature.sh
[ "$(wc -l <signature.sh)" -ge 5 ] || fail "no commands in the manual"
n=0
while IFS= read -r line; do
    printf '%s\n' "$line" >statement
    name=$(sed 's/.*"payload":"\([^"]*\)".*/\1/' statement | base64 -d | sed -n 's/.*urn:assay:\(worker\|verifier\):\([a-z0-9-]*\).*/\2/p')
    key=$(assay who --json | sed -n "s/.*\"name\":\"$name\".*\"sign_key\":\"\([0-9a-f]*\)\".*/\1/p")
    [ -n "$key" ] || fail "no key of $name"
    STATEMENT=statement KEY=$key sh -eu signature.sh >said 2>&1 || { cat said; fail "openssl does not verify the statement of $name"; }
    grep -q "Verified Successfully" said || fail "openssl: $(cat said)"
    other=$(assay who --json | sed -n "s/.*\"sign_key\":\"\([0-9a-f]*\)\".*/\1/p" | grep -v "$key" | head -n 1)
    ! STATEMENT=statement KEY=$other sh -eu signature.sh >said 2>&1 || fail "under another key as well"
    n=$((n + 1))
done <build.intoto.jsonl
[ $n -eq 8 ] || fail "$n statements, not a verdict and three results of each of two steps"

say "the manual's lines compute the artifact's digest, which is the statements' subject"
commands '# digest' >digest.sh
want=$(sed -n '1s/.*"payload":"\([^"]*\)".*/\1/p' build.intoto.jsonl | base64 -d | sed 's/.*"subject":\[{"digest":{"sha256":"\([0-9a-f]*\)".*/\1/')
[ "$(ARTIFACT=got sh -eu digest.sh)" = "$want" ] || fail "the digest is another: $(ARTIFACT=got sh -eu digest.sh), not $want"
[ "$(ARTIFACT=changed sh -eu digest.sh)" != "$want" ] || fail "the digest does not see a change"
cd /
done_ok
