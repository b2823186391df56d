/* assay-worker: runs steps of others, within what its owner allows. */
#include "config.h"

#include "worker/agent.h"

int main (int argc, char **argv)
{
    return worker_main (argc, argv, NULL);
}
