#!/bin/sh
# A step runs in a VM: same source, inputs, environment and outputs as with bwrap, and the signed result says how. While it runs, all processes of the
# host that a hostile step could take over - qemu, the keeper and the relay that speak with it, the step itself under bwrap - have nothing to take.
. "$(dirname "$0")/lib.sh"
realm --workers 2 --trusted 1
printf '[worker]\nisolation = qemu\nemulation = yes\nnetwork = realm\n[limits]\nmemory = 256M\ndisk = 256M\ncpus = 1\nnice = 0\n' >>"$realm/worker-1/worker.ini"
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
say "what can be seen of the processes while a step runs: no privileges, spaces of their own, limits, a group, and no descriptor that was not passed"
mark=$((50000 + $$ % 10000))
recipe <<R
image: IMAGE
policy: {agree: 2, trusted: required}
steps: {build: {run: "echo up; sleep $mark.7", network: realm, limits: {time: 250s}}}
R
expect 0 assay policy --project hello --network realm
sed -i 's/^isolation = bwrap/&\nnetwork = realm/' "$realm/worker-2/worker.ini"
expect 0 assay --dir "$realm/worker-2" worker reload
commit look
push_only
worker() { pgrep -xf ".*assay-worker --dir $realm/$1"; }
step_of() { pgrep -xf ".*assay-worker --dir $realm/$1 --step .*" -P "$(worker "$1")" | while read -r p; do ! pgrep -P "$p" >/dev/null || echo "$p"; done; }
both_up() { assay log "$id/build@worker-1" 2>/dev/null | grep -q up && assay log "$id/build@worker-2" 2>/dev/null | grep -q up; }
until_true 90 both_up
qemu=$(vms_of "$(worker worker-1)")
step=$(pgrep -xf "sleep $mark.7")
relay= keeper=
for p in $(pgrep -P "$(step_of worker-1)"); do if pgrep -P "$p" >/dev/null; then keeper=$p; else relay=$p; fi; done
[ -n "$qemu" ] && [ -n "$step" ] && [ -n "$relay" ] && [ -n "$keeper" ] || fail "qemu=$qemu step=$step relay=$relay keeper=$keeper"
weak() { # PID NAME: no one in particular, and it cannot become anybody else
    awk -v name="$2" '
        /^(Uid|Gid):/ { for (i = 2; i <= 5; i++) if ($i != 65534) print name ": " $0 }
        /^Groups:/ { if (NF > 1) print name ": " $0 }
        /^Cap(Inh|Prm|Eff|Bnd|Amb):/ { n++; if ($2 !~ /^0+$/) print name ": " $0 }
        /^NoNewPrivs:/ { n++; if ($2 != 1) print name ": " $0 }
        /^Seccomp:/ { n++; if ($2 != 2) print name ": " $0 }
        END { if (n != 7) print name ": " n " lines of its status are known" }' /proc/"$1"/status
}
apart() { # PID NAME NAMESPACE...
    p=$1 name=$2
    shift 2
    for n; do [ "$(readlink /proc/"$p"/ns/"$n")" != "$(readlink /proc/self/ns/"$n")" ] || echo "$name: it shares the namespace $n"; done
}
limited() { # PID NAME LIMIT... as its file names them, the last field being the hard limit
    p=$1 name=$2
    shift 2
    for l; do grep -qE "^Max ${l% *}  *[0-9]+  *${l##* } " /proc/"$p"/limits || echo "$name: $(grep "^Max ${l% *}" /proc/"$p"/limits)"; done
}
grouped() { grep -q '\.box$' /proc/"$1"/cgroup || echo "$2: it is in no group of its step"; }
holds() { # PID NAME PATTERN: every descriptor is such
    for f in /proc/"$1"/fd/*; do
        to=$(readlink "$f") || continue
        echo "$to" | grep -qE "^($3)\$" || echo "$2: it holds ${f##*/} -> $to"
    done
}
quiet='/dev/null|socket:.*|pipe:.*|anon_inode:.*'
images="$realm/worker-1/state/images/[0-9a-f]*/(vmlinux|initramfs|rootfs.squashfs)"
disks="$realm/worker-1/state/steps/[0-9a-f]*/#[0-9]* \(deleted\)|/memfd:vm \(deleted\)"
{
    for p in "$qemu qemu" "$step step" "$relay relay" "$keeper keeper"; do weak $p; done
    for p in "$qemu qemu" "$step step"; do
        apart $p user pid mnt net ipc uts
        limited $p "core file size 0" "open files 4096" "locked memory 65536" "msgqueue size 0" "file size [0-9]+"
        grouped $p
    done
    limited "$relay" relay "core file size 0" "file size 0" "processes 0"
    holds "$qemu" qemu "$quiet|$images|$disks"
    holds "$step" step "$quiet"
    holds "$relay" relay "$quiet"
    holds "$keeper" keeper "$quiet"
    for f in /proc/"$relay"/fd /proc/"$keeper"/fd; do [ "$(ls "$f" | wc -l)" -le 10 ] || echo "$f: $(ls "$f" | wc -l)"; done
    for f in /proc/"$step"/fd/*; do case ${f##*/} in 0 | 1 | 2) ;; *) echo "step: ${f##*/} -> $(readlink "$f")" ;; esac; done
    # a disk is to be written to only if it is the one for outputs: image and input are open for reading
    for f in /proc/"$qemu"/fd/*; do
        case $(readlink "$f") in */rootfs.squashfs | */vmlinux | */initramfs) grep -q '^flags:.*[0-9]*0$' /proc/"$qemu"/fdinfo/"${f##*/}" || echo "qemu: ${f##*/} can be written to" ;; esac
    done
} >"$scratch/wrong"
[ ! -s "$scratch/wrong" ] || { cat "$scratch/wrong"; fail "a process of a step has what it should not have"; }
expect 0 assay cancel "$id"
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
