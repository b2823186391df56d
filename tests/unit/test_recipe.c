/* The recipe: what it becomes, and each refusal with its exact place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/policy.h"
#include "source/recipe.h"

#define HEX "4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c4f0c"
#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define IMAGE "image: c@sha256:" HEX "\n" /* one line */
#define A IMAGE "steps:\n  a:\n    run: make\n"  /* a good recipe; what is added stands at line 5, column 5 */

static struct recipe *parse (const char *text, struct err *e)
{
    struct recipe *r;
    *e = (struct err) ERR_INIT;
    return recipe_parse (bytes_str (text), "r.yml", &r, e) == 0 ? r : NULL;
}

static struct recipe *good (const char *text)
{
    struct err e;
    struct recipe *r = parse (text, &e);
    cr_assert (r, "%s\n%s", e.msg, text);
    return r;
}

static const struct {
    const char *text, *message;
} refused[] = {
    /* whole texts */
    { "", "r.yml:1:1: empty (a recipe has at least image: and steps:)" },
    { "# nothing\n", "r.yml:1:1: empty (a recipe has at least image: and steps:)" },
    { "a word", "r.yml:1:1: recipe: a word (a map of key: value is wanted)" },
    { "- a\n- b\n", "r.yml:1:1: recipe: a list (a map of key: value is wanted)" },
    { IMAGE, "r.yml:1:1: no steps (steps: with at least one step)" },
    { A "---\nx: 1\n", "r.yml:5:1: a second document (a recipe is one)" },
    { "a: \"\001\"\n", "r.yml:1:5: a control character (not allowed)" },
    { "a: b\nc: \xff\n", "r.yml:2:4: not UTF-8 (text in UTF-8 is allowed)" },
    { "é: é\xc3(\n", "r.yml:1:5: not UTF-8 (text in UTF-8 is allowed)" },
    { "a: \"\\0\"\n", "r.yml:1:4: a NUL in the text (not allowed)" },
    { IMAGE "steps: [", "r.yml:3:1: not YAML: did not find expected node content while parsing a flow node" },
    { IMAGE "steps:\n\ta: 1\n", "r.yml:3:1: not YAML: found character that cannot start any token while scanning for the next token" },

    /* bombs */
    { "a: &x [1]\nb: *x\n", "r.yml:1:4: anchor (anchors and aliases are not allowed: write it out)" },
    { "a: *x\n", "r.yml:1:4: alias (anchors and aliases are not allowed: write it out)" },
    { "*x : 1\n", "r.yml:1:1: alias as a key (anchors and aliases are not allowed: write it out)" },
    { "? &k a\n: b\n", "r.yml:1:3: anchor (anchors and aliases are not allowed: write it out)" },
    { "a: !!str 1\n", "r.yml:1:4: tag (types are not tagged here: quote what is text)" },
    { "a: {<<: {b: 1}}\n", "r.yml:1:5: merge key << (not allowed: write it out)" },
    { "a: [[[[[[[[1]]]]]]]]\n", "r.yml:1:11: nested too deep (at most 8 levels)" },
    { "? [a, b]\n: c\n", "r.yml:1:3: a key must be a word" },
    { IMAGE IMAGE, "r.yml:2:1: key \"image\" given twice (first on line 1)" },

    /* keys */
    { A "imag: x\n", "r.yml:5:1: unknown key \"imag\" in the recipe (allowed: image, policy, env, labels, limits, keep, network, steps)" },
    { A "    ruin: x\n",
      "r.yml:5:5: unknown key \"ruin\" in step a (allowed: image, policy, env, labels, limits, keep, network, run, needs, start, artifacts, matrix)" },
    { A "    steps: {}\n",
      "r.yml:5:5: unknown key \"steps\" in step a (allowed: image, policy, env, labels, limits, keep, network, run, needs, start, artifacts, matrix)" },
    { A "run: x\n", "r.yml:5:1: unknown key \"run\" in the recipe (allowed: image, policy, env, labels, limits, keep, network, steps)" },

    /* image */
    { "steps: {a: {run: x}}\n", "r.yml:1:9: step a: no image (image: NAME@sha256:HEX, in the step or for all steps)" },
    { "image: c\nsteps: {a: {run: x}}\n", "r.yml:1:8: image: \"c\" (NAME@sha256: and 64 lower-case hex digits)" },
    { "image: [c]\n", "r.yml:1:9: image: \"c\" (NAME@sha256: and 64 lower-case hex digits)" },
    { "image:\n", "r.yml:1:7: image: nothing (NAME@sha256: and 64 lower-case hex digits)" },
    { "image: C@sha256:" HEX "\n", "r.yml:1:8: image: \"C@sha256:" HEX "\" (NAME@sha256: and 64 lower-case hex digits)" },
    { "image: c@sha256:" HEX "0\n", "r.yml:1:8: image: \"c@sha256:" HEX "0\" (NAME@sha256: and 64 lower-case hex digits)" },
    { A "    image: ~\n", "r.yml:5:12: image: nothing (NAME@sha256: and 64 lower-case hex digits)" },

    /* steps */
    { IMAGE "steps: {}\n", "r.yml:2:8: steps: 0 of them (from 1 to 64)" },
    { IMAGE "steps: [a]\n", "r.yml:2:8: steps: a list (a map of key: value is wanted)" },
    { IMAGE "steps: {a: x}\n", "r.yml:2:12: step a: a word (a map of key: value is wanted)" },
    { IMAGE "steps: {a: }\n", "r.yml:2:12: step a: nothing (a map of key: value is wanted)" },
    { IMAGE "steps: {A: {run: x}}\n", "r.yml:2:9: step \"A\": not a name (1 to 63 of a-z 0-9 . _ -, a letter or digit first)" },
    { IMAGE "steps: {../x: {run: x}}\n", "r.yml:2:9: step \"../x\": not a name (1 to 63 of a-z 0-9 . _ -, a letter or digit first)" },
    { IMAGE "steps: {\"\": {run: x}}\n", "r.yml:2:9: step \"\": not a name (1 to 63 of a-z 0-9 . _ -, a letter or digit first)" },
    { IMAGE "steps:\n  a: {artifacts: [x]}\n", "r.yml:3:3: step a: no run (the shell commands of the step)" },
    { IMAGE "steps:\n  a: {run: \"  \\n\"}\n", "r.yml:3:12: run: nothing (the shell commands of the step, at most 65536 bytes)" },
    { IMAGE "steps:\n  a: {run: [x]}\n", "r.yml:3:12: run: a list (the shell commands of the step, at most 65536 bytes)" },

    /* needs */
    { A "    needs: b\n", "r.yml:5:12: needs: a word (a list of steps' names, as [build])" },
    { A "    needs: [b]\n", "r.yml:5:13: needs an unknown step \"b\" (there are: a)" },
    { A "    needs: [b, b]\n", "r.yml:5:16: needs: \"b\" given twice (each step once)" },
    { A "    needs: [B]\n", "r.yml:5:13: needs: \"B\" is not a step's name (a-z 0-9 . _ -, a letter or digit first)" },
    { A "    needs: [a]\n", "r.yml:5:13: needs go round in a circle: a -> a (each step needs only what can run before it)" },
    { IMAGE "steps:\n  a: {run: x, needs: [c]}\n  b: {run: x, needs: [a]}\n  c: {run: x, needs: [b]}\n",
      "r.yml:3:23: needs go round in a circle: a -> c -> b -> a (each step needs only what can run before it)" },
    { IMAGE "steps:\n  a: {run: x}\n  b: {run: x, needs: [a, d]}\n  c: {run: x, needs: [b]}\n  d: {run: x, needs: [c]}\n",
      "r.yml:4:23: needs go round in a circle: b -> d -> c -> b (each step needs only what can run before it)" },

    /* policy */
    { A "    policy: 2\n", "r.yml:5:13: policy: a word (a map of key: value is wanted)" },
    { A "    policy: {agree: 0}\n", "r.yml:5:21: agree: 0 (a number from 1 to 64)" },
    { A "    policy: {agree: 65}\n", "r.yml:5:21: agree: 65 (a number from 1 to 64)" },
    { A "    policy: {agree: -1}\n", "r.yml:5:21: agree: \"-1\" (a number from 1 to 64)" },
    { A "    policy: {agree: two}\n", "r.yml:5:21: agree: \"two\" (a number from 1 to 64)" },
    { A "    policy: {agree: \"2\"}\n", "r.yml:5:21: agree: \"2\" (a number from 1 to 64)" },
    { A "    policy: {agree: 2.0}\n", "r.yml:5:21: agree: \"2.0\" (a number from 1 to 64)" },
    { A "    policy: {agree: 99999999999999999999}\n", "r.yml:5:21: agree: \"99999999999999999999\" (a number from 1 to 64)" },
    { A "    policy: {trusted: yes}\n", "r.yml:5:23: trusted: \"yes\" (required or optional)" },
    { A "    policy: {dissent: x}\n", "r.yml:5:23: dissent: \"x\" (block or tolerate)" },
    { A "    policy: {isolation: chroot}\n", "r.yml:5:25: isolation: \"chroot\" (qemu, bwrap or none)" },
    { A "    policy: {agree: 3, max_replicas: 2}\n", "r.yml:5:38: max_replicas: 2 (at least agree, which is 3)" },
    { A "    policy: {lineages: 9}\n", "r.yml:5:24: lineages: 9 (a number from 1 to 8)" },
    { A "    policy: {lineages: 2}\n", "r.yml:3:3: step a: lineages 2, and 1 image (at least as many images as lineages)" },
    { A "    network: internet\n", "r.yml:5:14: network: \"internet\" (none or realm)" },
    { A "    image: []\n", "r.yml:5:12: image: an empty list (at least one NAME@sha256:HEX)" },
    { A "    image: [a@sha256:" HEX_A ", b@sha256:" HEX_A "]\n",
      "r.yml:5:88: image: \"b@sha256:" HEX_A "\" given twice (images that were built separately)" },
    { A "    policy: {quorum: 2}\n", "r.yml:5:14: unknown key \"quorum\" in policy (allowed: agree, trusted, dissent, isolation, max_replicas, lineages)" },

    /* environment, labels */
    { A "    env: [x]\n", "r.yml:5:10: env: a list (a map of key: value is wanted)" },
    { A "    env: {1A: x}\n", "r.yml:5:11: env: \"1A\" is not a variable's name (letters, digits and _, not a digit first)" },
    { A "    env: {\"A=B\": x}\n", "r.yml:5:11: env: \"A=B\" is not a variable's name (letters, digits and _, not a digit first)" },
    { A "    env: {SOURCE_DATE_EPOCH: 0}\n", "r.yml:5:11: env: SOURCE_DATE_EPOCH is set by the worker (any name but SOURCE_DATE_EPOCH and ASSAY_*)" },
    { A "    env: {A: [x]}\n", "r.yml:5:14: env A: a list (a word; quote what has blanks or marks)" },
    { A "    labels: {arch: [x]}\n", "r.yml:5:20: arch: a list (a name of a-z 0-9 . _ -)" },
    { A "    labels: {arch: AMD64}\n", "r.yml:5:20: label arch: \"AMD64\" (a name of a-z 0-9 . _ -, at most 63 bytes with its key)" },
    { A "    labels: {Arch: x}\n", "r.yml:5:14: labels: \"Arch\" is not a name (a-z 0-9 . _ -, a letter or digit first)" },

    /* limits */
    { A "    limits: {cpus: 0}\n", "r.yml:5:20: cpus: 0 (a number from 1 to 1024)" },
    { A "    limits: {memory: 2X}\n", "r.yml:5:22: memory: \"2X\" (bytes with K, M, G or T, as 2G; from 1M to 1024T)" },
    { A "    limits: {memory: 1K}\n", "r.yml:5:22: memory: \"1K\" (bytes with K, M, G or T, as 2G; from 1M to 1024T)" },
    { A "    limits: {disk: -1G}\n", "r.yml:5:20: disk: \"-1G\" (bytes with K, M, G or T, as 2G; from 1M to 1024T)" },
    { A "    limits: {time: 20 minutes}\n", "r.yml:5:20: time: \"20 minutes\" (a duration with s, m, h or d, as 20m; from 1s to 30d)" },
    { A "    limits: {time: 0}\n", "r.yml:5:20: time: \"0\" (a duration with s, m, h or d, as 20m; from 1s to 30d)" },
    { A "    limits: {ram: 2G}\n", "r.yml:5:14: unknown key \"ram\" in limits (allowed: cpus, memory, disk, time)" },
    { A "    keep: 0\n", "r.yml:5:11: keep: 0 (a number from 1 to 1000000)" },
    { A "    start: now\n", "r.yml:5:12: start: \"now\" (trusted or provisional)" },

    /* artifacts */
    { A "    artifacts: hello\n", "r.yml:5:16: artifacts: a word (a list of paths or globs below the source tree, as [hello, doc/*.1])" },
    { A "    artifacts: [/etc/passwd]\n", "r.yml:5:17: artifacts: \"/etc/passwd\" is absolute (a path or glob below the source tree)" },
    { A "    artifacts: [../x]\n", "r.yml:5:17: artifacts: \"../x\" leaves the tree (a path or glob below the source tree)" },
    { A "    artifacts: [a, b/../../c]\n", "r.yml:5:20: artifacts: \"b/../../c\" leaves the tree (a path or glob below the source tree)" },
    { A "    artifacts: [a/..]\n", "r.yml:5:17: artifacts: \"a/..\" leaves the tree (a path or glob below the source tree)" },
    { A "    artifacts: [a//b]\n", "r.yml:5:17: artifacts: \"a//b\" has an empty part or \".\" (a path or glob below the source tree)" },
    { A "    artifacts: [./a]\n", "r.yml:5:17: artifacts: \"./a\" has an empty part or \".\" (a path or glob below the source tree)" },
    { A "    artifacts: [\"a\\tb\"]\n", "r.yml:5:17: artifacts: \"a?b\" has control characters or backslashes (a path or glob below the source tree)" },
    { A "    artifacts: [a, a]\n", "r.yml:5:20: artifacts: \"a\" given twice (each path once)" },
    { A "    artifacts: [~]\n", "r.yml:5:17: artifacts: nothing (a path or glob below the source tree)" },

    /* matrix */
    { A "    matrix: [cc]\n", "r.yml:5:13: matrix: a list (a map of key: value is wanted)" },
    { A "    matrix: {}\n", "r.yml:5:13: matrix: 0 rows (from 1 to 8, as {cc: [gcc, clang]})" },
    { A "    matrix: {cc: gcc}\n", "r.yml:5:18: cc: a word (a list of values, as [gcc, clang])" },
    { A "    matrix: {cc: []}\n", "r.yml:5:18: matrix cc: no values (at least one)" },
    { A "    matrix: {cc: [gcc, gcc]}\n", "r.yml:5:24: matrix cc: \"gcc\" given twice (each value once)" },
    { A "    matrix: {cc: [GCC]}\n", "r.yml:5:19: matrix cc: \"GCC\" (a name of a-z 0-9 . _ -, a letter or digit first)" },
    { A "    matrix: {1c: [x]}\n", "r.yml:5:14: matrix: \"1c\" is not a name (a-z 0-9 . _ -, a letter first)" },
    { A "    matrix: {a: [1,2,3,4,5,6,7,8], b: [1,2,3,4,5,6,7,8,9]}\n",
      "r.yml:3:3: too many combinations in the matrix of \"a\" (at most 64 steps in all)" },
    { IMAGE "steps:\n  a: {run: x, matrix: {v: [b]}}\n  a-b: {run: x}\n",
      "r.yml:4:3: two steps would be called \"a-b\" (names are used once, with their matrix values too)" },
};

Test (recipe, refusals_name_line_column_and_what_is_allowed)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct err e;
        struct recipe *r = parse (refused[i].text, &e);
        cr_expect_null (r, "%zu: taken:\n%s", i, refused[i].text);
        cr_expect_str_eq (e.msg, refused[i].message, "%zu: \"%s\"\nwant \"%s\"", i, e.msg, refused[i].message);
        cr_expect_eq (e.kind, ERR_USAGE, "%zu", i);
        recipe_destroy (&r);
    }
}

Test (recipe, example_of_the_manual)
{
    struct recipe *r = good ("image: bookworm-c@sha256:" HEX "\n"
                             "policy:\n  agree: 2\n  trusted: required\n  dissent: block\n"
                             "steps:\n  build:\n    run: |\n      ./configure --prefix=/usr\n      make\n"
                             "    artifacts: [hello, doc/hello.1]\n    limits: {cpus: 2, memory: 2G, disk: 4G, time: 20m}\n"
                             "  test:\n    needs: [build]\n    start: provisional\n    policy: {agree: 1}\n"
                             "    run: /in/build/hello | grep -q 'Hello, world!'\n");
    cr_assert_eq (recipe_steps (r), 2);
    const struct msg_step *b = recipe_step (r, 0), *t = recipe_step (r, 1);
    cr_assert (bytes_eqs (b->name, "build") && bytes_eqs (b->run, "./configure --prefix=/usr\nmake\n"));
    cr_assert (b->agree == 2 && b->trusted == POLICY_TRUSTED_REQUIRED && b->dissent == POLICY_DISSENT_BLOCK && b->isolation == 0);
    cr_assert (b->cpus == 2 && b->memory == 2ull << 30 && b->disk == 4ull << 30 && b->time_ms == 20 * 60000);
    cr_assert (b->artifacts.n == 2 && bytes_eqs (b->artifacts.v[1], "doc/hello.1") && b->needs.n == 0 && !b->start_provisional);
    cr_assert (t->start_provisional == 1 && t->needs.n == 1 && bytes_eqs (t->needs.v[0], "build"));
    cr_assert (t->agree == 1 && t->trusted == POLICY_TRUSTED_REQUIRED, "a step's policy changes only what it names");
    cr_assert (t->cpus == 0 && t->memory == 0 && t->time_ms == 0, "no limit said: the worker's own");
    recipe_destroy (&r);
    cr_assert_null (r);
}

Test (recipe, matrix_makes_named_steps_with_variables)
{
    struct recipe *r = good (IMAGE "env: {CC: tcc, X: '1'}\nsteps:\n  b:\n    matrix: {cc: [gcc, clang], opt-level: [o0, o2]}\n    run: x\n"
                                   "  one: {run: x, needs: [b-clang-o2]}\n  all: {run: x, needs: [b, one]}\n");
    static const char *const names[] = { "b-gcc-o0", "b-gcc-o2", "b-clang-o0", "b-clang-o2", "one", "all" };
    cr_assert_eq (recipe_steps (r), 6);
    for (size_t i = 0; i < 6; i++)
        cr_expect (bytes_eqs (recipe_step (r, i)->name, names[i]), "%zu", i);
    const struct msg_step *s = recipe_step (r, 2);
    cr_assert_eq (s->env.n, 3);
    cr_expect (bytes_eqs (s->env.v[0], "CC=clang") && bytes_eqs (s->env.v[1], "OPT_LEVEL=o0") && bytes_eqs (s->env.v[2], "X=1"));
    cr_expect (bytes_eqs (recipe_step (r, 4)->env.v[0], "CC=tcc"));
    cr_expect (recipe_step (r, 4)->needs.n == 1 && bytes_eqs (recipe_step (r, 4)->needs.v[0], "b-clang-o2"));
    cr_expect (recipe_step (r, 5)->needs.n == 5 && bytes_eqs (recipe_step (r, 5)->needs.v[3], "b-clang-o2"));
    recipe_destroy (&r);
}

Test (recipe, defaults_reach_each_step_and_yield_to_it)
{
    struct recipe *r = good (IMAGE "labels: {arch: amd64}\nlimits: {memory: 1G, time: 90}\nkeep: 3\nsteps:\n  a: {run: x}\n"
                                   "  b: {run: x, labels: {arch: arm64, os: linux}, limits: {memory: 1024M, cpus: 4}, keep: 9, image: 'o@sha256:"
                                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}\n");
    const struct msg_step *a = recipe_step (r, 0), *b = recipe_step (r, 1);
    cr_assert (a->labels.n == 1 && bytes_eqs (a->labels.v[0], "arch=amd64") && a->keep == 3 && a->time_ms == 90000 && a->image.b[0] == 0x4f);
    cr_assert (b->labels.n == 2 && bytes_eqs (b->labels.v[0], "arch=arm64") && bytes_eqs (b->labels.v[1], "os=linux"));
    cr_assert (b->keep == 9 && b->cpus == 4 && b->memory == 1ull << 30 && b->time_ms == 90000 && b->image.b[0] == 0xaa);
    recipe_destroy (&r);
}

Test (recipe, images_built_separately_and_a_network_are_signed_with_the_step)
{
    struct recipe *r = good (IMAGE "network: realm\nsteps:\n  a: {run: x, image: ['o@sha256:" HEX_A "', 'p@sha256:4f0c8f5b1f3a1f3b8c3e1d6b0a7e5c2d9f8e7d6c5b4a39281706f5e4d3c2b1a0'],"
                                   " policy: {lineages: 2}}\n  b: {run: x, network: none}\n");
    const struct msg_step *a = recipe_step (r, 0), *b = recipe_step (r, 1);
    cr_assert (a->image.b[0] == 0xaa && a->images.n == 1 && a->images.v[0].len == 32 && a->images.v[0].p[0] == 0x4f && a->lineages == 2 && a->network == NETWORK_REALM);
    cr_assert (b->image.b[0] == 0x4f && b->images.n == 0 && b->lineages == 0 && b->network == NETWORK_NONE);
    recipe_destroy (&r);
}

static void encode (const struct recipe *r, struct buf *out)
{
    for (size_t i = 0; i < recipe_steps (r); i++) {
        struct msg m = MSG_INIT (step, 0);
        m.u.step = *recipe_step (r, i);
        msg_encode (&m, out);
    }
}

/* A worker expands the recipe again and compares bytes with what was signed. */
Test (recipe, expansion_is_the_same_each_time_and_whatever_the_layout)
{
    struct recipe *x = good (IMAGE "env: {B: b, A: a}\nsteps: {a: {run: make, matrix: {cc: [gcc, clang]}, env: {C: c}}}\n");
    struct recipe *y = good ("# other order, other style\nsteps:\n    a:\n        env:\n            C: 'c'\n        matrix:\n            cc:\n            - gcc\n"
                             "            - \"clang\"\n        run: \"make\"\nenv:\n    A: a\n    B: b\n" IMAGE);
    BUF (bx);
    BUF (by);
    encode (x, &bx);
    encode (y, &by);
    cr_assert (bytes_eq (buf_bytes (&bx), buf_bytes (&by)));
    recipe_destroy (&x);
    recipe_destroy (&y);
}

Test (recipe, any_order_of_steps_and_any_acyclic_needs_are_taken)
{
    unsigned seed = 1;
    for (unsigned round = 0; round < 2000; round++) {
        unsigned n = 2 + round % 12, order[16];
        for (unsigned i = 0; i < n; i++)
            order[i] = i;
        for (unsigned i = n - 1; i > 0; i--) {
            unsigned k = (unsigned) rand_r (&seed) % (i + 1), t = order[i];
            order[i] = order[k];
            order[k] = t;
        }
        BUF (text);
        bool back = round % 2;                       /* one edge backwards: with the chain below, always a cycle */
        unsigned lo = (unsigned) rand_r (&seed) % (n - 1), hi = lo + 1 + (unsigned) rand_r (&seed) % (n - 1 - lo);
        buf_adds (&text, IMAGE "steps:\n");
        for (unsigned i = 0; i < n; i++) {
            unsigned s = order[i];
            buf_addf (&text, "  s%u: {run: x, needs: [", s);
            bool first = true;
            for (unsigned k = 0; k < s; k++)
                if (k + 1 == s || rand_r (&seed) % 3 == 0) {
                    buf_addf (&text, "%ss%u", first ? "" : ", ", k);
                    first = false;
                }
            if (back && s == lo)
                buf_addf (&text, "%ss%u", first ? "" : ", ", hi);
            buf_adds (&text, "]}\n");
        }
        struct err e;
        struct recipe *r = parse (buf_str (&text), &e);
        cr_assert_eq (r != NULL, !back, "%s\n%s", e.msg, buf_str (&text));
        cr_assert (!back || strstr (e.msg, "needs go round in a circle: "), "%s", e.msg);
        recipe_destroy (&r);
    }
}

Test (recipe, cut_or_changed_anywhere_it_is_taken_or_refused_with_a_place)
{
    static const char text[] = IMAGE "policy: {agree: 2, trusted: required}\nenv: {A: b}\nsteps:\n  a:\n    run: |\n      make\n    artifacts: [x, y/*]\n"
                                     "    matrix: {cc: [gcc, clang]}\n  b: {needs: [a], run: \"x\", limits: {time: 1m}}\n";
    static const char with[] = "\n\t :-[]{}&*!|>'\"%@`#,?~\x80\xff\0az0/.";
    for (size_t i = 0; i < sizeof text; i++)
        for (size_t k = 0; k < sizeof with; k++) {
            struct recipe *r;
            struct err e = ERR_INIT;
            char copy[sizeof text];
            memcpy (copy, text, sizeof text);
            if (k < sizeof with - 1)
                copy[i] = with[k];
            size_t len = k < sizeof with - 1 ? sizeof text - 1 : i;
            if (recipe_parse (bytes_of (copy, len), "f", &r, &e) == 0) {
                recipe_destroy (&r);
                continue;
            }
            unsigned line = 0, column = 0;
            cr_assert_eq (sscanf (e.msg, "f:%u:%u: ", &line, &column), 2, "%s", e.msg);
            cr_assert (line >= 1 && line <= 14 && column >= 1 && column <= 100 && e.kind == ERR_USAGE, "%s", e.msg);
        }
}

Test (recipe, sizes_are_bounded)
{
    struct recipe *r;
    struct err e = ERR_INIT;
    BUF (big);
    memset (buf_grow (&big, RECIPE_MAX + 1), ' ', RECIPE_MAX + 1);
    cr_assert_eq (recipe_parse (buf_bytes (&big), "f", &r, &e), -1);
    cr_assert_str_eq (e.msg, "f:1:1: 262145 bytes (at most 262144)");

    BUF (nodes);
    buf_adds (&nodes, "a: [");
    for (int i = 0; i < 20000; i++)
        buf_adds (&nodes, "1,");
    buf_adds (&nodes, "]\n");
    cr_assert_eq (recipe_parse (buf_bytes (&nodes), "f", &r, &e), -1);
    cr_assert (strstr (e.msg, "too many values (at most 16384)"), "%s", e.msg);

    /* 64 KiB of run in each of many combinations would not fit into a submission. */
    BUF (runs);
    buf_adds (&runs, IMAGE "steps:\n  a:\n    matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]}\n    run: ");
    memset (buf_grow (&runs, 65536), 'x', 65536);
    buf_adds (&runs, "\n");
    cr_assert_eq (recipe_parse (buf_bytes (&runs), "f", &r, &e), -1);
    cr_assert (strstr (e.msg, "in all, each combination of a matrix counted (at most 921600)"), "%s", e.msg);

    BUF (steps);
    buf_adds (&steps, IMAGE "steps:\n");
    for (int i = 0; i < 64; i++)
        buf_addf (&steps, "  s%d: {run: x}\n", i);
    r = good (buf_str (&steps));
    cr_assert_eq (recipe_steps (r), 64);
    recipe_destroy (&r);
    buf_adds (&steps, "  s64: {run: x}\n");
    cr_assert_eq (recipe_parse (buf_bytes (&steps), "f", &r, &e), -1);
    cr_assert (strstr (e.msg, "steps: 65 of them (from 1 to 64)"), "%s", e.msg);
}
