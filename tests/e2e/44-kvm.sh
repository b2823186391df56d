#!/bin/sh
# KVM is offered and used only where our own null job shows that it works: where that hangs or fails, VMs are emulated if their owner allows
# that, and all that is said of them says so; else the lease is refused and goes to another worker, the broker hears why, and nothing hangs. It is
# tried again when the owner says. A start that fails for another reason is held against nobody.
# KVM works nowhere that this runs for certain, so it is played: a qemu that is told to use KVM emulates, or hangs, or fails, as a file says.
. "$(dirname "$0")/lib.sh"
needs_vm
chmod 711 "$scratch" # qemu is no one in particular
mkdir "$scratch/qemu"
cat >"$scratch/qemu/qemu" <<Q
#!/bin/sh
[ "\$1" != --version ] || exec $(command -v qemu-system-x86_64) --version
mode=\$(cat $scratch/qemu/mode)
case "\$mode:\$*" in
hang:*"-accel kvm"*) exec sleep 1000 ;;
fail:*"-accel kvm"*) echo "ioctl(KVM_RUN) failed: Invalid argument"; exit 1 ;;
once:*"-accel kvm"*"-mon "*) echo "this start is not like others"; exit 1 ;;
memory:*"-accel kvm"*) echo "cannot set up guest memory 'ram': Cannot allocate memory"; exit 1 ;;
esac
for a; do
    shift
    [ "\$a" != kvm ] || a=tcg,tb-size=256
    set -- "\$@" "\$a"
done
exec $(command -v qemu-system-x86_64) "\$@"
Q
chmod 755 "$scratch/qemu/qemu"
mode() { echo "$1" >"$scratch/qemu/new" && mv "$scratch/qemu/new" "$scratch/qemu/mode"; }
export ASSAY_QEMU="$scratch/qemu/qemu" ASSAY_KVM=
realm --workers 2 --trusted 1
limits='[limits]\nmemory = 96M\ndisk = 32M\ncpus = 1\nnice = 0\n'
one=$realm/worker-1 two=$realm/worker-2
printf "[worker]\nisolation = qemu\nemulation = no\n$limits" >>"$one/worker.ini"
printf "[worker]\nisolation = qemu\nemulation = yes\n$limits" >>"$two/worker.ini"
printf '[leases]\ndecline-pause = 1s\nerrors = 2\n' >>"$realm/broker/broker.ini"
field() { assay --dir "$1" worker status --json | sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p"; }
runs_under() { [ "$(field "$1" accelerator)" = "$2" ]; } # WORKER ACCELERATOR; "": no VMs
made_under() { assay attest "$id/build" --json | grep -c "\"worker\":\"$1\".*\"accelerator\":\"$2\""; }
result() { assay attest "$id/build" -o "$scratch/bundle" >/dev/null && sed 's/.*"payload":"\([^"]*\)".*/\1/' "$scratch/bundle" | while read -r p; do echo "$p" | base64 -d; echo; done | grep '"isolation":"qemu"'; }
told() { grep "$id" "$scratch/events" | grep -q "$1"; } # TEXT: of an event of this submission

mode tcg
daemons worker-1
worker=$pid
assay watch --since 1 --json >"$scratch/events" 2>/dev/null &
pids="$pids $!"
vm_image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: "echo built > /out/it", artifacts: [it]}}
R
say "it works: the result says kvm, and the null job does not run again"
commit works
push 0
result | grep -q '"accelerator":"kvm"' || fail "not under KVM"
kvm=$(find "$one/state/images" -name '*.kvm')
[ -n "$kvm" ] && was=$(stat -c %i "$kvm")
commit again
push 0
[ "$(stat -c %i "$kvm")" = "$was" ] || fail "the null job ran again"
until_true 10 runs_under "$one" kvm

say "a start fails for a reason of its own: the null job still works, so KVM is not to blame"
rm -rf "$one/state/snapshots"
mode once
commit once
push_only
until_true 60 told 'this start is not like others'
until_true 60 sh -c "assay status --json $id | grep -q unsatisfiable"
grep -qx works "$kvm" || fail "one failed start is held against KVM: $(cat "$kvm")"
say "nor is it where there is no memory, for the null job either"
mv "$kvm" "$scratch/works"
mode memory
commit memory
push_only
until_true 60 told 'Cannot allocate memory'
until_true 60 sh -c "assay status --json $id | grep -q unsatisfiable"
[ ! -e "$kvm" ] || fail "no memory is held against KVM: $(cat "$kvm")"

mv "$scratch/works" "$kvm"
say "it fails, and no emulation is allowed: the lease is refused, the broker hears why, another owner's worker takes it"
mode fail
commit fails
push_only
until_true 60 told '"kind":"declined".*KVM does not work here: .*ioctl(KVM_RUN) failed'
until_true 10 runs_under "$one" ""
has worker-1.log "no VMs: KVM does not work here, and emulation = no"
say "... where it hangs, and emulation is allowed: the VM is emulated, and log, result and status say so"
mode hang
start worker-2 assay-worker --dir "$two"
until_true 120 sh -c "assay status --json $id | grep -q '\"state\":\"provisional\"\|\"state\":\"trusted\"'"
result | grep -q '"accelerator":"tcg"' || fail "emulated, and the result does not say so"
assay log "$id/build" >"$scratch/out"
has out 'KVM does not work here (a null job in a VM: the VM did not start in time'
until_true 10 runs_under "$two" tcg
has worker-2.log "VMs are emulated, as the owner allows"
say "a worker that could offer nothing does not start, and says what to do"
kill "$worker"
wait "$worker" || true
expect 1 assay-worker --dir "$one"
has err "emulation = yes"
say "... nor does one without KVM at all"
expect 1 env ASSAY_KVM="there is no /dev/kvm" assay-worker --dir "$one"
has err "there is no /dev/kvm"
has err "emulation = yes"
say "it is tried again after a while, by the worker itself"
sed -i 's/^emulation = no/emulation = yes/' "$one/worker.ini"
start worker-1 assay-worker --dir "$one"
until_true 10 runs_under "$one" tcg
grep -q '^failed [0-9]* [0-9]*$' "$kvm" || fail "$(cat "$kvm")"
mode tcg
sed -i 's/^failed .*/failed 5 1000/' "$kvm" # its time has come
until_true 120 runs_under "$one" kvm
has worker-1.log "VMs run under KVM"
say "... and when the owner says"
mode fail
sed -i "s/^works/failed 5 $(($(date +%s) + 3000))\nit hung/" "$kvm"
until_true 10 runs_under "$one" tcg
expect 0 assay --dir "$one" worker probe
grep -q '^vm  *no .*ioctl(KVM_RUN) failed' "$scratch/out" || fail "the probe does not show that the null job failed"
mode tcg
expect 0 assay --dir "$one" worker probe
grep -q '^vm  *yes *a null job ran in a VM of image .*, under KVM, in [0-9]* ms' "$scratch/out" || fail "the probe does not show the null job"
until_true 10 runs_under "$one" kvm
done_ok
