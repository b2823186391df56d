#!/bin/sh
# assay image import: the same folder gives the same digest, whoever imports it. assay image build: so do the same packages, whatever the
# order, umask, time zone and language; the image is named in the store, a worker builds in it, and its cache keeps to its size.
# Exit 77: the package archive cannot be reached.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
printf 'image-cache = 1M\n' >>"$realm/worker-1/worker.ini"
up
image
one=$image
again=$(unshare --user --map-user=1234 --map-group=1234 sh -c "id -u >'$scratch/uid'; assay image import --name other --kernel none '$scratch/rootfs'")
[ "$(cat "$scratch/uid")" = 1234 ] || fail "it ran as root"
[ "${one#*@}" = "${again#*@}" ] || fail "root imports $one, another $again"
debian_image small busybox-static dash
say "$image"
(umask 077; TZ=Asia/Tokyo LANG=de_DE.UTF-8 assay image build --name again dash busybox-static >"$scratch/two")
[ "${image#*@}" = "$(sed 's/.*@//' "$scratch/two")" ] || fail "another digest: $(cat "$scratch/two")"
expect 0 assay image list
has out small@
has out again@
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: "cat /etc/debian_version > /out/version; dpkg-query -W -f '${Package}\n' | sort > /out/packages", artifacts: [version, packages]}}
R
commit one
push 0
expect 0 assay get "$id/build" -d "$scratch/got"
grep -qx dash "$scratch/got/packages" || fail "the image lacks its packages"
say "a second image: the worker's cache keeps to its size"
image
recipe <<'R'
image: IMAGE
steps: {build: {run: "true"}}
R
commit two
push 0
[ "$(find "$realm/worker-1/state/images" -name rootfs.squashfs | wc -l)" = 1 ] || fail "the cache holds more than it may"
say "an image that the store does not have: an error, tried again, then said so"
image="box@sha256:$(printf '%064d' 7)"
recipe <<'R'
image: IMAGE
steps: {build: {run: "true"}}
R
commit three
expect 0 assay push -C "$repo"
three=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
until_true 90 sh -c "assay status --json $three | grep -q '\"state\":\"unsatisfiable\"'"
done_ok
