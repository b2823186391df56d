#!/bin/sh
# What a build in a VM can reach: the same as in 60-network.sh, through a VM that has no network card; one that was resumed, and one that was booted.
DRIVER=qemu
. "${0%/*}/60-network.sh"
