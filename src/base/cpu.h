/* cpu.h: CPU models that a VM may show to a build. */
#ifndef ASSAY_BASE_CPU_H
#define ASSAY_BASE_CPU_H

#include <stdbool.h>

#define CPU_MODEL "Nehalem-v1" /* unless something else is asked for */
#define CPU_MODELS "qemu64-v1, Nehalem-v1, Westmere-v1, SandyBridge-v1, IvyBridge-v1, Haswell-v4"

/* A model that is the same CPU under every qemu from 7.2 on. The name goes to qemu's command line, so nothing else may. */
bool cpu_model_known (const char *name);

#endif
