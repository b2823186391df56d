/* driver.c: runs a harness without libFuzzer: each file of the folders named, then mutations of them for a while.
 *
 *     fuzz_msg [-t SECONDS] [-s SEED] [-m MAX-BYTES] FILE-OR-FOLDER...
 *
 * An input that ends the process, or that takes longer than 10 s, is left in ./crash-HARNESS; run the harness with that file to
 * see it again. The seed is printed: the same seed over the same files makes the same inputs.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);
const char *__asan_default_options (void);
const char *__ubsan_default_options (void);

/* A report ends in abort (), so that the input can be kept. */
const char *__asan_default_options (void) { return "abort_on_error=1:handle_abort=0:allocator_may_return_null=1"; }
const char *__ubsan_default_options (void) { return "abort_on_error=1:print_stacktrace=1"; }

#define SLOW_S 10

struct input {
    uint8_t *p;
    size_t len;
};
static struct input *corpus;
static size_t corpus_count;
static uint64_t rnd;

/* What runs now, for the signal handler. */
static const uint8_t *volatile now_p;
static volatile size_t now_len;
static char crash_file[256];

static uint32_t below (uint32_t n)
{
    rnd ^= rnd << 13;
    rnd ^= rnd >> 7;
    rnd ^= rnd << 17;
    return n ? (uint32_t) ((rnd >> 16) % n) : 0;
}

static void keep (int sig)
{
    static const char text[] = "fuzz: the input is kept in ./crash-*\n";
    int fd = open (crash_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (size_t at = 0; fd != -1 && at < now_len;) {
        ssize_t n = write (fd, now_p + at, now_len - at);
        if (n <= 0)
            break;
        at += (size_t) n;
    }
    (void) !write (2, text, sizeof text - 1);
    (void) signal (sig, SIG_DFL);
    (void) raise (sig);
}

static void one (const uint8_t *p, size_t len)
{
    uint8_t *exact = malloc (len ? len : 1); /* its own block: a byte read beyond it shows */
    if (!exact)
        abort ();
    if (len)
        memcpy (exact, p, len);
    now_p = exact;
    now_len = len;
    (void) alarm (SLOW_S);
    (void) LLVMFuzzerTestOneInput (exact, len);
    free (exact);
}

static void take_file (const char *path, size_t max)
{
    struct stat st;
    FILE *f = fopen (path, "rb");
    if (!f || fstat (fileno (f), &st) == -1 || !S_ISREG (st.st_mode) || (size_t) st.st_size > max) {
        if (f)
            (void) fclose (f);
        return;
    }
    struct input in = { malloc ((size_t) st.st_size + 1), (size_t) st.st_size };
    struct input *more = realloc (corpus, (corpus_count + 1) * sizeof *corpus);
    if (!in.p || !more)
        abort ();
    corpus = more;
    in.len = fread (in.p, 1, in.len, f);
    corpus[corpus_count++] = in;
    (void) fclose (f);
}

static void take (const char *path, size_t max)
{
    struct dirent **names;
    int n = scandir (path, &names, NULL, alphasort);
    if (n == -1) {
        take_file (path, max);
        return;
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        if (names[i]->d_name[0] != '.' && snprintf (file, sizeof file, "%s/%s", path, names[i]->d_name) < (int) sizeof file)
            take_file (file, max);
        free (names[i]);
    }
    free (names);
}

/* ---- mutations ---- */

static const uint64_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
                                0x8000000000000000, 0xffffffffffffffff };

static void put_number (uint8_t *p, unsigned width, uint64_t v, bool big)
{
    for (unsigned i = 0; i < width; i++)
        p[big ? width - 1 - i : i] = (uint8_t) (v >> (8 * i));
}

static size_t mutate (uint8_t *p, size_t len, size_t max)
{
    uint32_t at = below ((uint32_t) len), n = 1 + below (below (4) ? 8 : 256);
    if (len == 0) {
        p[0] = (uint8_t) below (256);
        return 1;
    }
    switch (below (10)) {
    case 0:
        p[at] ^= (uint8_t) (1u << below (8));
        return len;
    case 1:
        p[at] = (uint8_t) below (256);
        return len;
    case 2: {
        unsigned width = 1u << below (4);
        if (at + width <= len)
            put_number (p + at, width, odd[below (sizeof odd / sizeof *odd)] - below (2), below (2));
        return len;
    }
    case 3: /* take out */
        if (at + n > len)
            return len;
        memmove (p + at, p + at + n, len - at - n);
        return len - n;
    case 4: /* put in noise, or the same byte */
        if (len + n > max)
            return len;
        memmove (p + at + n, p + at, len - at);
        for (uint32_t i = 0, same = below (512); i < n; i++)
            p[at + i] = (uint8_t) (same < 256 ? same : below (256));
        return len + n;
    case 5: { /* a piece of it, again */
        uint32_t from = below ((uint32_t) len);
        n = n > len - from ? (uint32_t) (len - from) : n;
        if (len + n > max)
            return len;
        uint8_t piece[256];
        memcpy (piece, p + from, n);
        memmove (p + at + n, p + at, len - at);
        memcpy (p + at, piece, n);
        return len + n;
    }
    case 6: /* cut */
        return below (4) ? len : at;
    case 7: { /* the end of another */
        const struct input *o = &corpus[below ((uint32_t) corpus_count)];
        uint32_t from = below ((uint32_t) o->len);
        size_t take_len = o->len - from;
        if (o->len == 0 || at + take_len > max)
            return len;
        memcpy (p + at, o->p + from, take_len);
        return at + take_len;
    }
    case 8: { /* a piece of another, in place */
        const struct input *o = &corpus[below ((uint32_t) corpus_count)];
        uint32_t from = below ((uint32_t) o->len);
        if (o->len - from < n || at + n > len)
            return len;
        memcpy (p + at, o->p + from, n);
        return len;
    }
    default: /* a step up or down */
        p[at] = (uint8_t) (p[at] + (below (2) ? 1 : 255));
        return len;
    }
}

int main (int argc, char **argv)
{
    static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
    const char *name = strrchr (argv[0], '/');
    size_t max = 1 << 16, runs = 0;
    long seconds = 0;
    rnd = (uint64_t) time (NULL) * 2654435761u + (uint64_t) getpid ();
    for (int o; (o = getopt (argc, argv, "t:s:m:")) != -1;)
        if (o == 't')
            seconds = strtol (optarg, NULL, 10);
        else if (o == 's')
            rnd = strtoull (optarg, NULL, 10);
        else if (o == 'm')
            max = strtoul (optarg, NULL, 10);
        else
            return 2;
    if (rnd == 0)
        rnd = 1;
    uint64_t seed = rnd;
    (void) snprintf (crash_file, sizeof crash_file, "crash-%s", name ? name + 1 : argv[0]);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        (void) signal (fatal[i], keep);
    for (int i = optind; i < argc; i++)
        take (argv[i], max);
    if (corpus_count == 0) {
        fprintf (stderr, "%s: no files to begin with (name a file or a folder)\n", argv[0]);
        return 2;
    }
    one ((const uint8_t *) "", 0);
    for (size_t i = 0; i < corpus_count; i++)
        one (corpus[i].p, corpus[i].len);
    uint8_t *p = malloc (max + 1);
    if (!p)
        abort ();
    struct timespec start, t;
    for (clock_gettime (CLOCK_MONOTONIC, &start), t = start; t.tv_sec - start.tv_sec < seconds; clock_gettime (CLOCK_MONOTONIC, &t))
        for (int batch = 0; batch < 16; batch++, runs++) {
            const struct input *in = &corpus[below ((uint32_t) corpus_count)];
            size_t len = in->len;
            if (len)
                memcpy (p, in->p, len);
            for (uint32_t n = 1 + below (1u << below (5)); n > 0; n--)
                len = mutate (p, len, max);
            one (p, len);
        }
    (void) alarm (0);
    printf ("%s: %zu files, %zu mutations, seed %llu\n", name ? name + 1 : argv[0], corpus_count, runs, (unsigned long long) seed);
    for (size_t i = 0; i < corpus_count; i++)
        free (corpus[i].p);
    free (corpus);
    free (p);
    return 0;
}
