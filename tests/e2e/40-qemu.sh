#!/bin/sh
# A step runs in a VM: same source, inputs, environment and outputs as with bwrap, and the signed result says how.
. "$(dirname "$0")/lib.sh"
realm --workers 2 --trusted 1
printf '[worker]\nisolation = qemu\nemulation = yes\n[limits]\nmemory = 256M\ndisk = 256M\ncpus = 1\n' >>"$realm/worker-1/worker.ini"
printf '[worker]\nisolation = bwrap\n[limits]\ncpus = 1\n' >>"$realm/worker-2/worker.ini"
up
vm_image
project hello
recipe <<'R'
image: IMAGE
policy: {agree: 2, trusted: required}
steps:
  build:
    run: |
      id; pwd; hostname; env | sort
      tr a-z A-Z < hello.txt > /out/hello
      mkdir -p /out/doc
      cp hello.txt /out/doc/hello.txt
      chmod +x /out/hello
      ln -s hello /out/link
    artifacts: [hello, doc, link]
  use:
    needs: [build]
    run: |
      (cd /in && find . | sort | xargs stat -c "%n %f %u %g %Y" && cat build/link build/doc/hello.txt) | tee /out/seen
      touch /in/build/more && exit 1
      cp -r /in/build /out/build
    artifacts: [seen, build]
R
echo "hello, world" >"$repo/hello.txt"
commit
push 0
[ "$(state_of "$id" build)" = trusted ] || fail "the drivers do not agree"
[ "$(state_of "$id" use)" = trusted ] || fail "the drivers do not agree on a step with inputs"
expect 0 assay attest "$id/build" -o "$scratch/bundle"
payloads() { sed 's/.*"payload":"\([^"]*\)".*/\1/' "$scratch/bundle" | while read -r p; do echo "$p" | base64 -d; echo; done; }
payloads | grep '"isolation":"qemu"' | grep -q '"accelerator":"\(tcg\|kvm\)"' || fail "the accelerator is not in the signed result"
payloads | grep '"isolation":"qemu"' | grep -q 'start=resumed' || fail "the VM was booted, not resumed"
say "a bare image: bwrap still builds it, and qemu says why it cannot"
image
recipe <<'R'
image: IMAGE
policy: {agree: 1}
steps: {build: {run: "true", policy: {isolation: qemu}}}
R
commit bare
push 3
grep -q "has no kernel" "$scratch/out" "$scratch/err" || fail "no reason"
done_ok
