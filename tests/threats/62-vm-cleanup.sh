#!/bin/sh
# As 61-cleanup.sh, with the steps in VMs: no qemu, memory or control group of one is left, whoever of the worker's processes got SIGKILL.
DRIVER=qemu
. "${0%/*}/61-cleanup.sh"
