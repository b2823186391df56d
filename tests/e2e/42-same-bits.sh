#!/bin/sh
# A C project with autotools gives the same bits in a VM, emulated and resumed, and under bwrap, with all that configure finds out on its way.
# Exit 77: the package archive cannot be reached.
. "$(dirname "$0")/lib.sh"
command -v qemu-system-x86_64 >/dev/null || { say "skipped: no qemu-system-x86_64 here"; exit 77; }
realm --workers 2 --trusted 1
printf '[worker]\nisolation = qemu\nemulation = yes\n[limits]\nmemory = 512M\ndisk = 512M\ncpus = 1\ntime = 20m\n' >>"$realm/worker-1/worker.ini"
printf '[worker]\nisolation = bwrap\n[limits]\ncpus = 1\ntime = 20m\n' >>"$realm/worker-2/worker.ini"
up
if ! assay image build --name c gcc libc6-dev make autoconf automake >"$scratch/one" 2>"$scratch/err"; then
    grep -qiE 'resolve|connect|fetch|unreachable|timed out|network|does not know' "$scratch/err" && { echo "skipped: no package archive: $(tail -n 1 "$scratch/err")"; exit 77; }
    cat "$scratch/err"
    fail "image build"
fi
image=$(cat "$scratch/one")
project hello
recipe <<'R'
image: IMAGE
policy: {agree: 2, trusted: required}
steps:
  build:
    run: |
      autoreconf -fi
      ./configure --prefix=/usr
      make
      make install DESTDIR=/out
    artifacts: [usr, config.h, config.status, Makefile, libgreet.a, greet.o]
R
cat >"$repo/configure.ac" <<'C'
AC_INIT([hello], [1.0])
AM_INIT_AUTOMAKE([foreign])
AC_CONFIG_HEADERS([config.h])
AC_PROG_CC
AC_PROG_RANLIB
AM_PROG_AR
AC_CHECK_FUNCS([printf])
AC_CONFIG_FILES([Makefile])
AC_OUTPUT
C
cat >"$repo/Makefile.am" <<'C'
bin_PROGRAMS = hello
noinst_LIBRARIES = libgreet.a
libgreet_a_SOURCES = greet.c
hello_SOURCES = hello.c
hello_LDADD = libgreet.a
hello.c: $(wildcard part-*.h)
C
printf '#include <stdio.h>\n#include "config.h"\nvoid greet (void);\nvoid greet (void) { puts ("hello, world, of " __FILE__ " on " __DATE__ " with " PACKAGE_STRING); }\n' >"$repo/greet.c"
printf 'void greet (void);\nint main (void) { greet (); return 0; }\n' >"$repo/hello.c"
commit autotools
expect 0 assay push -C "$repo"
id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
decided() { ! assay status --json "$id" | grep -q '"state":"\(pending\|provisional\)"'; }
until_true 800 decided
expect 0 assay status "$id"
cat "$scratch/out"
[ "$(state_of "$id" build)" = trusted ] || fail "the drivers do not agree"
expect 0 assay get "$id/build" -d "$scratch/got"
"$scratch/got/usr/bin/hello" | grep -q "hello, world" || fail "it does not run"
done_ok
