/* A small libnvidia-ml.so.1, so that the real bindings run without a GPU.

   Two GPUs, numbered against the order of their UUIDs, and a slice of one.  FAKE_NVML is a list of
   words, what goes wrong: "deny" no permission to start; "energy", "clock", "power", "temperature",
   "utilization", "violations", "reasons", "processes", "samples", "mig" not supported, with
   ":denied" behind it no permission for it; "unused" no process has used a GPU; "old" no function of the newer name; "hot", "brake" what slows it down;
   "backward" an energy counter that runs so; "mig-on" the mode that slices the boards, "mig-next"
   the same after the next reset.  Figures move from look to look. */

#include <stdlib.h>
#include <string.h>

enum { OK = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

/* Whether a word of FAKE_NVML is `what` with `more` behind it. */
static int told(const char *what, const char *more) {
    const char *word = getenv("FAKE_NVML");
    size_t first = strlen(what), second = strlen(more);
    for (; word != NULL && *word != 0; word += strcspn(word, " "), word += strspn(word, " "))
        if (strcspn(word, " ") == first + second && strncmp(word, what, first) == 0 &&
            strncmp(word + first, more, second) == 0)
            return 1;
    return 0;
}

static int asked(const char *what) { return told(what, ""); }
static int answer(const char *what) {
    return told(what, ":denied") ? NO_PERMISSION : asked(what) ? NOT_SUPPORTED : OK;
}

static int devices[3] = {0, 1, 2}; /* the last one is the slice */
static unsigned long long energy_mj = 1000, hot_ns = 0;

int nvmlInitWithFlags(unsigned flags) { (void)flags; return asked("deny") ? NO_PERMISSION : OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == NO_PERMISSION ? "Insufficient Permissions" : "Not Supported"; }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (strcmp(uuid, "GPU-second") == 0) { *device = &devices[0]; return OK; }
    if (strcmp(uuid, "GPU-first") == 0) { *device = &devices[1]; return OK; }
    if (strcmp(uuid, "MIG-slice") == 0) { *device = &devices[2]; return OK; }
    return NOT_FOUND;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
    (void)device;
    energy_mj += 400000; /* 400 J between two looks */
    if (asked("backward")) energy_mj -= 400001;
    *mj = energy_mj;
    return answer("energy");
}

int nvmlDeviceIsMigDeviceHandle(void *device, unsigned *is) {
    *is = *(int *)device == 2;
    return answer("mig");
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *next) {
    if (*(int *)device == 2) return NOT_SUPPORTED;
    *now = asked("mig-on");
    *next = asked("mig-on") || asked("mig-next");
    return answer("mig");
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz) {
    *mhz = type == 1 ? 1000 + 500 * *(int *)device : 1; /* 1: NVML_CLOCK_SM */
    return answer("clock");
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) { (void)device; *mw = 321500; return answer("power"); }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *c) { (void)device; (void)sensor; *c = 71; return answer("temperature"); }

int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
    (void)device;
    rates[0] = 93; /* gpu */
    rates[1] = 40; /* memory */
    return answer("utilization");
}

int nvmlDeviceGetViolationStatus(void *device, int policy, unsigned long long *times) {
    (void)device;
    if (policy == 1 && asked("hot")) hot_ns += 500000000ULL; /* 1: NVML_PERF_POLICY_THERMAL */
    times[0] = 0;
    times[1] = policy == 1 ? hot_ns : 77;
    return answer("violations");
}

static int reasons_now(unsigned long long *reasons) {
    *reasons = asked("brake") ? 0x80 : 0x04; /* power brake; the software power cap is normal */
    return answer("reasons");
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
    if (answer("processes") != OK) return answer("processes");
    if (*count < 2) { *count = 2; return INSUFFICIENT_SIZE; }
    *count = 2;
    found[0] = (struct process){4001, 1 << 20, 0, 0};
    found[1] = (struct process){4002, 1 << 20, 0, 0};
    return OK;
}

struct sample { unsigned pid; unsigned long long at_us; unsigned sm, memory, encoder, decoder; };

/* Each look is a second later: 4001 computes all the time, 4002 did once. */
int nvmlDeviceGetProcessUtilization(void *device, struct sample *found, unsigned *count, unsigned long long since_us) {
    static unsigned long long looks = 1000000;
    struct sample all[2] = {{4001, 0, 80, 40, 0, 0}, {4002, 500000, 55, 20, 0, 0}};
    unsigned newer = 0;
    (void)device;
    if (answer("samples") != OK) return answer("samples");
    if (asked("unused")) return NOT_FOUND;
    if (found == NULL) { *count = 2; return INSUFFICIENT_SIZE; }
    all[0].at_us = looks += 1000000;
    for (unsigned one = 0; one < 2; one++)
        if (all[one].at_us > since_us) found[newer++] = all[one];
    *count = newer;
    return OK;
}
