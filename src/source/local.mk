noinst_LIBRARIES += libsource.a
libsource_a_SOURCES = src/source/git.c src/source/git.h src/source/fetch.c src/source/checkout.c \
	src/source/repo.h src/source/yaml.c src/source/yaml.h src/source/recipe.c src/source/recipe.h \
	src/source/expand.c src/source/expand.h
