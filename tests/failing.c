/* Lets the n-th system call of a kind fail, counted over a process and its children.

   Loaded by LD_PRELOAD. FEM_FAILING names a file of the size of `struct shared`, which all processes map. The count
   begins and ends when one of them calls fem_failing_begin() and fem_failing_end(). The names __libc_malloc etc. are glibc's. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE, OPEN, IMPORT, MAP, ALLOCATE, START, PIPE, KINDS };

/* failing.py has the same layout. `pid` is the process where the call failed, and `what` the call. */
struct shared {
    int64_t kind, n, begun, pid, counts[KINDS];
    char what[200];
};

static struct shared *shared;

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("FEM_FAILING");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *found = (void *)syscall(SYS_mmap, NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (found != MAP_FAILED)
        shared = found;
}

void fem_failing_begin(void) {
    if (shared)
        shared->begun = 1;
}

void fem_failing_end(void) {
    if (shared)
        shared->begun = 0;
}

/* Whether this call is the n-th of its kind. */
static int now(enum kind kind, const char *call, int fd, const char *detail) {
    if (!shared || !shared->begun)
        return 0;
    if (__atomic_add_fetch(&shared->counts[kind], 1, __ATOMIC_SEQ_CST) != shared->n || shared->kind != kind)
        return 0;
    char link[40], target[160] = "";
    if (!detail && fd >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = 0;
        detail = target;
    }
    shared->pid = getpid();
    snprintf(shared->what, sizeof shared->what, "%s %.180s", call, detail ? detail : "");
    return 1;
}

static int fail(int number) {
    errno = number;
    return -1;
}

#define NEXT(name)                                         \
    static __typeof__(&name) next;                         \
    if (!next)                                             \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Files and pipes: writing */

/* What a write to a pipe or a socket fails with; 0 for others. Not with EPIPE in a pipe: who gets that knows that nobody
   reads any more, and needn't tell anybody. */
static int is_pipe(int fd) {
    struct stat about;
    if (fstat(fd, &about))
        return 0;
    return S_ISFIFO(about.st_mode) ? EIO : S_ISSOCK(about.st_mode) ? EPIPE : 0;
}

/* Python asks its resource tracker whether it lives by writing to it, and waits for the end of one that doesn't answer.
   This can't fail while the tracker lives. */
static int is_probe(const void *data, size_t size) { return size >= 6 && !memcmp(data, "PROBE:", 6); }

#define WRITING(result, name, parameters, arguments, fd, exempt)    \
    result name parameters {                                        \
        NEXT(name);                                                 \
        if (shared && shared->begun && !(exempt)) {                 \
            int saved = errno, pipe = is_pipe(fd);                  \
            errno = saved;                                          \
            if (now(pipe ? PIPE : WRITE, #name, fd, NULL))          \
                return fail(pipe ? pipe : ENOSPC);                 \
        }                                                           \
        return next arguments;                                      \
    }

WRITING(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), fd, is_probe(data, size))
WRITING(ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n), fd, 0)
WRITING(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), fd, 0)
WRITING(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), fd, 0)
WRITING(int, fsync, (int fd), (fd), fd, 0)
WRITING(int, fdatasync, (int fd), (fd), fd, 0)
WRITING(int, ftruncate, (int fd, off_t size), (fd, size), fd, 0)
WRITING(int, ftruncate64, (int fd, off64_t size), (fd, size), fd, 0)

int posix_fallocate(int fd, off_t at, off_t size) {
    NEXT(posix_fallocate);
    return now(WRITE, "posix_fallocate", fd, NULL) ? ENOSPC : next(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) {
    NEXT(posix_fallocate64);
    return now(WRITE, "posix_fallocate", fd, NULL) ? ENOSPC : next(fd, at, size);
}

size_t fwrite(const void *data, size_t size, size_t n, FILE *file) { /* its own write can't be reached */
    NEXT(fwrite);
    if (now(WRITE, "fwrite", fileno(file), NULL)) {
        errno = ENOSPC;
        return 0;
    }
    return next(data, size, n, file);
}

/* Files: opening and naming. What an import opens counts apart: there is a lot of it. */

static enum kind opening(const char *path) {
    size_t length = path ? strlen(path) : 0;
    int module = length > 3 && (!strcmp(path + length - 3, ".py") || (length > 4 && !strcmp(path + length - 4, ".pyc")));
    return module || (path && strstr(path, "site-packages")) ? IMPORT : OPEN;
}

#define OPENING(name)                                                  \
    int name(const char *path, int flags, ...) {                       \
        NEXT(name);                                                    \
        va_list more;                                                  \
        va_start(more, flags);                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                  \
        return now(opening(path), #name, -1, path) ? fail(EMFILE) : next(path, flags, mode); \
    }

#define OPENING_AT(name)                                               \
    int name(int folder, const char *path, int flags, ...) {           \
        NEXT(name);                                                    \
        va_list more;                                                  \
        va_start(more, flags);                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                  \
        return now(opening(path), #name, -1, path) ? fail(EMFILE) : next(folder, path, flags, mode); \
    }

#define NAMING(result, name, parameters, arguments, failed, number, path)      \
    result name parameters {                                                   \
        NEXT(name);                                                            \
        if (now(opening(path), #name, -1, path)) {                             \
            errno = number;                                                    \
            return failed;                                                     \
        }                                                                      \
        return next arguments;                                                 \
    }

OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)
NAMING(FILE *, fopen, (const char *path, const char *how), (path, how), NULL, EMFILE, path)
NAMING(FILE *, fopen64, (const char *path, const char *how), (path, how), NULL, EMFILE, path)
NAMING(DIR *, opendir, (const char *path), (path), NULL, EMFILE, path)
NAMING(int, shm_open, (const char *name, int flags, mode_t mode), (name, flags, mode), -1, EMFILE, name)
NAMING(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC, path)
NAMING(int, rename, (const char *old, const char *new), (old, new), -1, EACCES, new)

/* Memory */

#define MAPPING(name, offset)                                                                    \
    void *name(void *at, size_t size, int protection, int flags, int fd, offset from) {          \
        NEXT(name);                                                                              \
        if (now(MAP, #name, fd, NULL)) {                                                         \
            errno = ENOMEM;                                                                      \
            return MAP_FAILED;                                                                   \
        }                                                                                        \
        return next(at, size, protection, flags, fd, from);                                      \
    }

MAPPING(mmap, off_t)
MAPPING(mmap64, off64_t)

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static int no_memory(const char *call, size_t size) {
    if (size < (1 << 20) || !now(ALLOCATE, call, -1, NULL))
        return 0;
    snprintf(shared->what, sizeof shared->what, "%s of %zu bytes", call, size);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return no_memory("malloc", size) ? NULL : __libc_malloc(size); }

void *calloc(size_t n, size_t size) {
    size_t all;
    if (!__builtin_mul_overflow(n, size, &all) && no_memory("calloc", all))
        return NULL;
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) { return no_memory("realloc", size) ? NULL : __libc_realloc(old, size); }

void *memalign(size_t grain, size_t size) {
    return no_memory("memalign", size) ? NULL : __libc_memalign(grain, size);
}

void *aligned_alloc(size_t grain, size_t size) {
    return no_memory("aligned_alloc", size) ? NULL : __libc_memalign(grain, size);
}

int posix_memalign(void **place, size_t grain, size_t size) {
    if (no_memory("posix_memalign", size))
        return ENOMEM;
    *place = __libc_memalign(grain, size);
    return *place || !size ? 0 : ENOMEM;
}

/* Processes and threads */

pid_t fork(void) {
    NEXT(fork);
    return now(START, "fork", -1, NULL) ? fail(EAGAIN) : next();
}

pid_t vfork(void) { /* can't be wrapped: the child would return into our frame */
    static pid_t (*next)(void);
    if (!next)
        next = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
    return now(START, "vfork", -1, NULL) ? fail(EAGAIN) : next();
}

#define SPAWNING(name)                                                                                       \
    int name(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,                        \
             const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]) {      \
        NEXT(name);                                                                                          \
        return now(START, #name, -1, path) ? EAGAIN : next(pid, path, actions, attributes, arguments, environment); \
    }

SPAWNING(posix_spawn)
SPAWNING(posix_spawnp)

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    NEXT(pthread_create);
    return now(START, "pthread_create", -1, NULL) ? EAGAIN : next(thread, attributes, start, argument);
}

/* Pipes and sockets; writing to them is above */

#define PIPING(result, name, parameters, arguments, number)                   \
    result name parameters {                                                  \
        NEXT(name);                                                           \
        return now(PIPE, #name, -1, NULL) ? fail(number) : next arguments;    \
    }

PIPING(int, pipe, (int ends[2]), (ends), EMFILE)
PIPING(int, pipe2, (int ends[2], int flags), (ends, flags), EMFILE)
PIPING(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE)
PIPING(int, socketpair, (int domain, int type, int protocol, int ends[2]), (domain, type, protocol, ends), EMFILE)
PIPING(int, connect, (int fd, const struct sockaddr *at, socklen_t size), (fd, at, size), ECONNREFUSED)
PIPING(int, accept4, (int fd, struct sockaddr *at, socklen_t *size, int flags), (fd, at, size, flags), EMFILE)
PIPING(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), EPIPE)
PIPING(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), ECONNRESET)

ssize_t read(int fd, void *data, size_t size) {
    NEXT(read);
    if (shared && shared->begun) {
        int saved = errno, pipe = is_pipe(fd);
        errno = saved;
        if (pipe && now(PIPE, "read", fd, NULL))
            return fail(EIO);
    }
    return next(fd, data, size);
}
