#!/bin/sh
# what a release has and a work tree has not; autoreconf does it twice over
set -e
aclocal
autoconf
autoheader
automake --add-missing --copy
