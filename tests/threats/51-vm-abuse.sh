#!/bin/sh
# The same steps as in 20-sandbox-abuse.sh, each in a VM: what they may take is bounded within the guest and once more around qemu, and nothing is left.
DRIVER=qemu
. "${0%/*}/20-sandbox-abuse.sh"
