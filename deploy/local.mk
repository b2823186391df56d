# systemd units, users, completion
SYSTEMD_UNITS_IN = deploy/systemd/assay-idp.service.in deploy/systemd/assay-broker.service.in deploy/systemd/assay-store.service.in \
	deploy/systemd/assay-verifier.service.in deploy/systemd/assay-worker.service.in deploy/systemd/assay-flush@.service.in
EXTRA_DIST += $(SYSTEMD_UNITS_IN) deploy/install-deps
systemdsystemunitdir = $(prefix)/lib/systemd/system
nodist_systemdsystemunit_DATA = deploy/systemd/assay-idp.service deploy/systemd/assay-broker.service deploy/systemd/assay-store.service \
	deploy/systemd/assay-verifier.service deploy/systemd/assay-worker.service deploy/systemd/assay-flush@.service
dist_systemdsystemunit_DATA = deploy/systemd/assay-flush@.timer
CLEANFILES += $(nodist_systemdsystemunit_DATA)
sysusersdir = $(prefix)/lib/sysusers.d
dist_sysusers_DATA = deploy/sysusers/assay.conf
bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = deploy/completion/assay.bash

# a changed prefix makes them anew
$(nodist_systemdsystemunit_DATA): Makefile

SUFFIXES += .service .service.in
.service.in.service:
	$(AM_V_GEN)$(MKDIR_P) deploy/systemd && sed 's|[@]bindir[@]|$(bindir)|g' $< >$@.tmp && mv $@.tmp $@
