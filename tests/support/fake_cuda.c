/* A small libcuda.so.1 that knows whether it was begun, and by which process.

   As NVIDIA's, every function but cuInit fails before cuInit, and in a fork of a process that has
   called it all of them do.  FAKE_CUDA=none: there is no GPU. */

#include <stdlib.h>
#include <unistd.h>

enum { OK = 0, NOT_INITIALIZED = 3, NO_DEVICE = 100 };

static pid_t begun = 0;

int cuInit(unsigned flags) {
    (void)flags;
    if (getenv("FAKE_CUDA") != NULL) return NO_DEVICE;
    if (begun != 0 && begun != getpid()) return NOT_INITIALIZED;
    begun = getpid();
    return OK;
}

int cuDeviceGetCount(int *count) {
    if (begun == 0 || begun != getpid()) return NOT_INITIALIZED;
    *count = 1;
    return OK;
}
