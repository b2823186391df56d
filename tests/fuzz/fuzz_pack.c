/* Any bytes as what a VM packed: taken or refused, and nothing is made beside the two folders. Records of its port, likewise. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/guest/pack.h"
#include "worker/vm_talk.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void pack (const uint8_t *data, size_t size)
{
    static const char *const roots[] = { "out", "src", NULL };
    char dir[] = "/dev/shm/assay-fuzz.XXXXXX";
    int fd = memfd_create ("pack", MFD_CLOEXEC);
    if (!mkdtemp (dir) || fd == -1)
        abort ();
    int d = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d == -1 || mkdirat (d, "out", 0755) == -1 || mkdirat (d, "src", 0755) == -1 || !file_write_all (fd, data, size) || lseek (fd, 0, SEEK_SET) != 0)
        abort ();
    struct pack_in in = { .fd = fd, .limit = size, .max_entries = 1000, .max_bytes = 1 << 20, .roots = roots, .uid = -1 };
    (void) unpack_tree (&in, d);
    unpack_release (&in);
    DIR *list = fdopendir (d);
    for (struct dirent *en; (en = readdir (list));)
        if (strcmp (en->d_name, "out") != 0 && strcmp (en->d_name, "src") != 0 && en->d_name[0] != '.')
            abort ();
    closedir (list);
    close (fd);
    file_remove_tree (dir, NULL);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of (data, size), record;
    struct talk_end end;
    unsigned kind;
    size_t used;
    uint64_t log;
    while (talk_record (in, &kind, &record, &used) == 1) {
        if (talk_result (record, &end, &log) && (end.exit_status > 255 || strlen (end.why) >= sizeof end.why))
            abort ();
        in = bytes_of (in.p + used, in.len - used);
    }
    talk_result (in, &end, &log);
    pack (data, size);
    return 0;
}
