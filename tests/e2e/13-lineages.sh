#!/bin/sh
# A policy asks for agreement across images that were built separately: workers are spread over the step's images, the bits count only when
# different images gave them, an image that slips something into what it builds is found out, and a step that names too few images is
# told so at once with both numbers.
. "$(dirname "$0")/lib.sh"
realm --workers 4 --trusted 0
up
image
one=$image
mkdir -p "$scratch/rootfs/etc"
echo separately >"$scratch/rootfs/etc/built"
two=$(assay image import --name box-2 "$scratch/rootfs")
echo slipped-in >"$scratch/rootfs/etc/slip"
bad=$(assay image import --name box-bad "$scratch/rootfs")
project p
pair() { sed "s|ONE|$one|; s|TWO|$2|" >"$repo/.assay.yml" <<R
image: [ONE, TWO]
policy: {agree: $1, max_replicas: 4}
steps: {build: {run: "cat n /etc/slip 2>/dev/null >/out/n || true", artifacts: [n]}}
R
}
expect 0 assay policy --project p --lineages 2
has out "lineages=2"
say "one image, and the policy asks for two"
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo hello >"$repo/n"
commit one
push 3
[ "$(state_of "$id" build)" = unsatisfiable ] || fail "$(assay status "$id")"
expect 0 assay status "$id"
has out "asks for 2 image lineages, and the step names 1 image"
say "two images that agree"
pair 1 "$two"
commit two
push 0
expect 0 assay attest "$id/build" -o "$scratch/bundle" --roster "$scratch/roster"
for i in "$one" "$two"; do
    sed -n 's/.*"payload":"\([^"]*\)".*/\1/p' "$scratch/bundle" | while read -r p; do echo "$p" | base64 -d; echo; done | grep -q "${i#*sha256:}" || fail "no result in $i"
done
expect 0 assay get "$id/build" -d "$scratch/got"
expect 0 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/bundle" "$scratch/got"
say "an image that slips something in: never trusted, however many build in it"
pair 2 "$bad"
commit three
push 3
state=$(state_of "$id" build)
[ "$state" = disputed ] || [ "$state" = unreproducible ] || fail "$state"
expect 3 assay get "$id/build" -d "$scratch/no"
done_ok
