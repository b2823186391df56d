# programs and files of tests
include tests/unit/store.mk
