/* A small libnvidia-ml.so.1, so that the real bindings run without a GPU.

   Two GPUs, numbered against the order of their UUIDs.  FAKE_NVML is a list of what goes wrong:
   "deny" no permission to start, "energy", "violations", "reasons", "processes" not supported,
   "old" no function of the newer name.  Figures move from look to look. */

#include <stdlib.h>
#include <string.h>

enum { OK = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

static int asked(const char *what) {
    const char *wrong = getenv("FAKE_NVML");
    return wrong != NULL && strstr(wrong, what) != NULL;
}

static int devices[2] = {0, 1};
static unsigned long long energy_mj = 1000, hot_ns = 0;

int nvmlInitWithFlags(unsigned flags) { (void)flags; return asked("deny") ? NO_PERMISSION : OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == NO_PERMISSION ? "Insufficient Permissions" : "Not Supported"; }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (strcmp(uuid, "GPU-second") == 0) { *device = &devices[0]; return OK; }
    if (strcmp(uuid, "GPU-first") == 0) { *device = &devices[1]; return OK; }
    return NOT_FOUND;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
    (void)device;
    if (asked("energy")) return NOT_SUPPORTED;
    energy_mj += 400000; /* 400 J between two looks */
    *mj = energy_mj;
    return OK;
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz) {
    *mhz = type == 1 ? 1000 + 500 * *(int *)device : 1; /* 1: NVML_CLOCK_SM */
    return OK;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) { (void)device; *mw = 321500; return OK; }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *c) { (void)device; (void)sensor; *c = 71; return OK; }

int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
    (void)device;
    rates[0] = 93; /* gpu */
    rates[1] = 40; /* memory */
    return OK;
}

int nvmlDeviceGetViolationStatus(void *device, int policy, unsigned long long *times) {
    (void)device;
    if (asked("violations")) return NOT_SUPPORTED;
    if (policy == 1 && asked("hot")) hot_ns += 500000000ULL; /* 1: NVML_PERF_POLICY_THERMAL */
    times[0] = 0;
    times[1] = policy == 1 ? hot_ns : 77;
    return OK;
}

static int reasons_now(unsigned long long *reasons) {
    if (asked("reasons")) return NOT_SUPPORTED;
    *reasons = asked("brake") ? 0x80 : 0x04; /* power brake; the software power cap is normal */
    return OK;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
    (void)device;
    return asked("old") ? NOT_SUPPORTED : reasons_now(reasons);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    (void)device;
    return reasons_now(reasons);
}

struct process { unsigned pid; unsigned long long memory; unsigned gpu, compute; };

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *found) {
    (void)device;
    if (asked("processes")) return NOT_SUPPORTED;
    if (*count < 2) { *count = 2; return INSUFFICIENT_SIZE; }
    *count = 2;
    found[0] = (struct process){4001, 1 << 20, 0, 0};
    found[1] = (struct process){4002, 1 << 20, 0, 0};
    return OK;
}
