/* Let the clocks of a process run faster: LD_PRELOAD=fast_clock.so FAST_CLOCK="SPEED FROM AT".
 *
 * At the instant AT (Unix seconds) the wall clock shows FROM, and runs SPEED times as fast from then on; so do the monotonic
 * clocks, and every wait ends as much earlier. FROM and AT are given, so that all processes of a run have one clock.
 * libfaketime does the same and does not know `cnd_timedwait`, which librdkafka's threads wait with, `sem_clockwait` of
 * Python and the futex calls of Rust: with it they sleep until an instant of the other clock. Times of files stay true. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define REAL(name)                                  \
    ({                                              \
        static __typeof__(&name) found;             \
        if (!found) found = (__typeof__(&name))next(#name); \
        found;                                      \
    })

static double speed = 1;
static long long from, at; /* nanoseconds */

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    double start = 0, since = 0;
    const char *said = getenv("FAST_CLOCK");
    if (said && sscanf(said, "%lf %lf %lf", &speed, &start, &since) != 3) abort();
    from = (long long)(start * NS);
    at = (long long)(since * NS);
}

static long long ns(const struct timespec *t) { return t->tv_sec * NS + t->tv_nsec; }

static struct timespec spec(long long n) {
    if (n < 0) n = 0;
    return (struct timespec){n / NS, n % NS};
}

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

static int is_other(clockid_t clock) { /* processor time is what it is */
    return clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID || clock < 0;
}

static long long shown(clockid_t clock, long long real) {
    return is_wall(clock) ? from + (long long)((real - at) * speed) : (long long)(real * speed);
}

/* An instant of the fast clock, as one of the true clock. */
static struct timespec instant(clockid_t clock, const struct timespec *t) {
    return spec(is_wall(clock) ? at + (long long)((ns(t) - from) / speed) : (long long)(ns(t) / speed));
}

/* Which clock a condition waits by is its attribute; instants of the two are decades apart. */
static struct timespec either(const struct timespec *t) {
    return instant(t->tv_sec > 1000000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC, t);
}

static struct timespec span(const struct timespec *t) { return spec((long long)(ns(t) / speed)); }

static int span_ms(int ms) { return ms <= 0 ? ms : (int)(ms / speed) + 1; }

int clock_gettime(clockid_t clock, struct timespec *t) {
    int failed = REAL(clock_gettime)(clock, t);
    if (!failed && speed != 1 && !is_other(clock)) *t = spec(shown(clock, ns(t)));
    return failed;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}

int nanosleep(const struct timespec *t, struct timespec *left) {
    struct timespec s = span(t);
    return REAL(nanosleep)(&s, left);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left) {
    struct timespec s = flags & TIMER_ABSTIME ? instant(clock, t) : span(t);
    return REAL(clock_nanosleep)(clock, flags, &s, left);
}

int usleep(useconds_t us) { return REAL(usleep)((useconds_t)(us / speed)); }

int poll(struct pollfd *fds, nfds_t n, int ms) { return REAL(poll)(fds, n, span_ms(ms)); }

int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask) {
    struct timespec s;
    if (t) s = span(t);
    return REAL(ppoll)(fds, n, t ? &s : NULL, mask);
}

int select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t) {
    struct timeval s;
    if (t) {
        long long us = (long long)((t->tv_sec * 1000000LL + t->tv_usec) / speed);
        s = (struct timeval){us / 1000000, us % 1000000};
    }
    return REAL(select)(n, r, w, e, t ? &s : NULL);
}

int epoll_wait(int fd, struct epoll_event *events, int n, int ms) {
    return REAL(epoll_wait)(fd, events, n, span_ms(ms));
}

int epoll_pwait(int fd, struct epoll_event *events, int n, int ms, const sigset_t *mask) {
    return REAL(epoll_pwait)(fd, events, n, span_ms(ms), mask);
}

int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t) {
    struct timespec s = either(t);
    return REAL(pthread_cond_timedwait)(c, m, &s);
}

int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock, const struct timespec *t) {
    struct timespec s = instant(clock, t);
    return REAL(pthread_cond_clockwait)(c, m, clock, &s);
}

int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *t) {
    struct timespec s = either(t);
    return REAL(cnd_timedwait)(c, m, &s);
}

int sem_timedwait(sem_t *sem, const struct timespec *t) {
    struct timespec s = instant(CLOCK_REALTIME, t);
    return REAL(sem_timedwait)(sem, &s);
}

int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *t) {
    struct timespec s = instant(clock, t);
    return REAL(sem_clockwait)(sem, clock, &s);
}

long syscall(long number, ...) {
    long a[6];
    struct timespec s;
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
    va_end(rest);
    int what = (int)(a[1] & FUTEX_CMD_MASK);
    if (number == SYS_futex && a[3] && (what == FUTEX_WAIT || what == FUTEX_WAIT_BITSET)) {
        const struct timespec *t = (const struct timespec *)a[3];
        s = what == FUTEX_WAIT ? span(t)
                               : instant(a[1] & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, t);
        a[3] = (long)&s;
    }
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
