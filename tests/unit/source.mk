if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_recipe tests/unit/test_git
TESTS += tests/unit/test_recipe tests/unit/test_git
tests_unit_test_recipe_SOURCES = tests/unit/test_recipe.c
tests_unit_test_recipe_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_recipe_LDADD = $(SOURCE_LIBS) $(CRITERION_LIBS)
tests_unit_test_git_SOURCES = tests/unit/test_git.c
tests_unit_test_git_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_git_LDADD = $(SOURCE_LIBS) $(CRITERION_LIBS)
endif
