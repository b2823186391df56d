# programs and files of tests
include tests/unit/store.mk
include tests/unit/core.mk
include tests/unit/deploy.mk
include tests/unit/source.mk
include tests/unit/broker.mk
include tests/unit/docs.mk
include tests/threats/threats.mk
