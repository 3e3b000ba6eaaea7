/* A stand-in for the driver's libnvidia-ml.so.1: it answers from environment variables.
 *
 *   FAKE_NVML_DRIVER   driver version, as text
 *   FAKE_NVML_CUDA     driver API version, as NVML's integer (12080)
 *   FAKE_NVML_GPUS     one GPU per line: name TAB major TAB minor TAB MiB TAB mig (0, 1, or -1: cannot)
 *   FAKE_NVML_ERRORS   what fails, as "function=code " or, for one GPU, "function#index=code "; functions
 *                      by their exported names (nvmlDeviceGetCount_v2), the start as nvmlInit
 *
 * Compiled with -DOLD_DRIVER it lacks the functions that drivers before R410 did not have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };
enum { MOST_GPUS = 16, NO_GPU = -1 };

typedef struct { char name[96]; int major, minor; unsigned long long mib; int mig; } gpu_t;
typedef struct { unsigned long long total, free, used; } memory_t;

static gpu_t gpus[MOST_GPUS];
static unsigned gpu_count;
static int users;

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value ? value : otherwise;
}

/* The code that FAKE_NVML_ERRORS gives for a call, SUCCESS where it gives none. */
static int asked_to_fail(const char *function, int index)
{
    char keys[2][96];
    snprintf(keys[0], sizeof keys[0], "%s=", function);
    snprintf(keys[1], sizeof keys[1], "%s#%d=", function, index);
    for (int i = 0; i < (index == NO_GPU ? 1 : 2); i++) {
        const char *found = strstr(setting("FAKE_NVML_ERRORS", ""), keys[i]);
        if (found)
            return atoi(found + strlen(keys[i]));
    }
    return SUCCESS;
}

static int status_of(const char *function, int index)
{
    int code = asked_to_fail(function, index);
    return code ? code : users ? SUCCESS : UNINITIALIZED;
}

static int index_of(const gpu_t *gpu) { return (int)(gpu - gpus); }

static int copy(char *to, unsigned size, const char *text)
{
    if (strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

static void read_gpus(void)
{
    const char *line = setting("FAKE_NVML_GPUS", "");
    for (gpu_count = 0; *line && gpu_count < MOST_GPUS; gpu_count++) {
        gpu_t *gpu = &gpus[gpu_count];
        sscanf(line, "%95[^\t]\t%d\t%d\t%llu\t%d", gpu->name, &gpu->major, &gpu->minor, &gpu->mib, &gpu->mig);
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
}

#define RETURN_UNLESS_FINE(index) \
    do { int status = status_of(__func__, index); if (status) return status; } while (0)

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    int code = asked_to_fail("nvmlInit", NO_GPU);
    if (code)
        return code;
    read_gpus();
    users++;
    return SUCCESS;
}

int nvmlShutdown(void)
{
    RETURN_UNLESS_FINE(NO_GPU);
    users--;
    return SUCCESS;
}

const char *nvmlErrorString(int code)
{
    static char text[32];
    snprintf(text, sizeof text, "Fake Error %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *to, unsigned size)
{
    RETURN_UNLESS_FINE(NO_GPU);
    return copy(to, size, setting("FAKE_NVML_DRIVER", ""));
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    RETURN_UNLESS_FINE(NO_GPU);
    *count = gpu_count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **gpu)
{
    RETURN_UNLESS_FINE((int)index);
    if (index >= gpu_count)
        return INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetName(const gpu_t *gpu, char *to, unsigned size)
{
    RETURN_UNLESS_FINE(index_of(gpu));
    return copy(to, size, gpu->name);
}

int nvmlDeviceGetMemoryInfo(const gpu_t *gpu, memory_t *memory)
{
    RETURN_UNLESS_FINE(index_of(gpu));
    memory->total = gpu->mib << 20;
    memory->used = 1 << 20;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

#ifndef OLD_DRIVER
int nvmlSystemGetCudaDriverVersion(int *code)
{
    RETURN_UNLESS_FINE(NO_GPU);
    *code = atoi(setting("FAKE_NVML_CUDA", "0"));
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(const gpu_t *gpu, int *major, int *minor)
{
    RETURN_UNLESS_FINE(index_of(gpu));
    *major = gpu->major;
    *minor = gpu->minor;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(const gpu_t *gpu, unsigned *current, unsigned *pending)
{
    RETURN_UNLESS_FINE(index_of(gpu));
    if (gpu->mig < 0)
        return NOT_SUPPORTED;
    *current = *pending = (unsigned)gpu->mig;
    return SUCCESS;
}
#endif
