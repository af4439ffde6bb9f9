/* What a process and its descriptors have beside their bytes, a row each: everything is set to something that is not the
 * default, told in the file `before`, and told again in `after` once there is a file `hurry`. Both must be the same,
 * natively and from an image; of some there is no image. image_rows ROW */
#include "guest.h"
#include <linux/capability.h>
#include <arpa/inet.h>
#include <asm/ldt.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <stddef.h>

#ifndef F_SETSIG
#define F_SETSIG 10
#define F_GETSIG 11
#endif

static int out;
static const char *now_at;
#define put(...) dprintf(out, __VA_ARGS__)

static int pair[2], ends[2], dgram[2], seq[2];
static int child;

/* ------------------------------------------------------------------ owners of signals */
struct owner_ex { int type, pid; };

static void owner_is(const char *what, int fd)
{
	struct owner_ex own = { -1, -1 };
	fcntl(fd, 16 /* F_GETOWN_EX */, &own);
	const char *whose = own.pid == getpid() ? "own" : own.pid == child ? "child" : own.pid == 0 ? "none" : "other";
	put("owner of %s: type %d, %s, signal %d, async %d\n", what, own.type, whose, fcntl(fd, F_GETSIG),
	     !!(fcntl(fd, F_GETFL) & O_ASYNC));
}

static void set_owners(void)
{
	struct owner_ex own = { 0 /* F_OWNER_TID */, getpid() };
	signal(SIGUSR2, SIG_IGN);
	CHECK(fcntl(pair[0], F_SETOWN, getpid()) == 0);
	CHECK(fcntl(pair[0], F_SETSIG, SIGUSR2) == 0);
	CHECK(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
	CHECK(fcntl(ends[0], 15 /* F_SETOWN_EX */, &own) == 0);
	CHECK(fcntl(ends[1], F_SETOWN, -getpgrp()) == 0);
	CHECK(fcntl(dgram[0], F_SETOWN, child) == 0);
}

static volatile sig_atomic_t came;
static void on_usr1(int s) { (void)s; came++; }

/* The signal comes when there is something to read. */
static void tell_owners(void)
{
	owner_is("a socket of a pair", pair[0]);
	owner_is("a pipe", ends[0]);
	owner_is("its other end", ends[1]);
	owner_is("a datagram socket", dgram[0]);
	signal(SIGUSR1, on_usr1);
	fcntl(pair[0], F_SETSIG, SIGUSR1);
	came = 0;
	CHECK(write(pair[1], "x", 1) == 1);
	char c;
	CHECK(read(pair[0], &c, 1) == 1);
	put("a signal came: %d\n", came);
	fcntl(pair[0], F_SETSIG, SIGUSR2);
}

/* ------------------------------------------------------------------ sockets */
static int tcp, udp, udp_to, udp6, lonely;

static const struct { int level, name; const char *what; int value; } options[] = {
	{ SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR", 1 },
	{ SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE", 1 },
	{ SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE", 1 },
	{ SOL_SOCKET, SO_DONTROUTE, "SO_DONTROUTE", 1 },
	{ SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF", 20000 },
	{ SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF", 30000 },
	{ SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT", 3 },
	{ SOL_SOCKET, SO_PRIORITY, "SO_PRIORITY", 4 },
	{ SOL_SOCKET, SO_TIMESTAMP, "SO_TIMESTAMP", 1 },
	{ SOL_SOCKET, SO_RXQ_OVFL, "SO_RXQ_OVFL", 1 },
	{ SOL_SOCKET, SO_BUSY_POLL, "SO_BUSY_POLL", 50 },
	{ IPPROTO_IP, IP_TTL, "IP_TTL", 33 },
	{ IPPROTO_IP, IP_TOS, "IP_TOS", 16 },
	{ IPPROTO_IP, IP_MTU_DISCOVER, "IP_MTU_DISCOVER", IP_PMTUDISC_DO },
	{ IPPROTO_IP, IP_PKTINFO, "IP_PKTINFO", 1 },
	{ IPPROTO_IP, IP_RECVERR, "IP_RECVERR", 1 },
	{ IPPROTO_IP, IP_RECVTTL, "IP_RECVTTL", 1 },
	{ IPPROTO_IP, IP_FREEBIND, "IP_FREEBIND", 1 },
	{ IPPROTO_IP, IP_MULTICAST_TTL, "IP_MULTICAST_TTL", 7 },
	{ IPPROTO_IP, IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP", 0 },
	{ IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY", 1 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE", 77 },
	{ IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL", 7 },
	{ IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT", 5 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT", 5000 },
	{ IPPROTO_TCP, TCP_MAXSEG, "TCP_MAXSEG", 600 },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT", 3 },
	{ IPPROTO_TCP, TCP_SYNCNT, "TCP_SYNCNT", 3 },
	{ IPPROTO_TCP, TCP_LINGER2, "TCP_LINGER2", 11 },
	{ IPPROTO_TCP, TCP_WINDOW_CLAMP, "TCP_WINDOW_CLAMP", 30000 },
	{ IPPROTO_TCP, TCP_FASTOPEN, "TCP_FASTOPEN", 5 },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT", 4096 },
	{ IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY", 1 },
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS", 9 },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO", 1 },
	{ IPPROTO_IPV6, IPV6_TCLASS, "IPV6_TCLASS", 32 },
};

static int is_for(int fd, int level)
{
	return level == SOL_SOCKET || (level == IPPROTO_TCP && fd == tcp) ||
	       (level == IPPROTO_IPV6 && fd == udp6) || (level == IPPROTO_IP && fd != udp6);
}

static void set_socket(int fd)
{
	for (unsigned i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (is_for(fd, options[i].level))
			setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
	struct timeval time = { 3, 250000 };
	struct linger linger = { 1, 9 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void tell_socket(const char *what, int fd)
{
	for (unsigned i = 0; i < sizeof(options) / sizeof(*options); i++) {
		int value = -1;
		socklen_t len = sizeof(value);
		if (is_for(fd, options[i].level) &&
		    getsockopt(fd, options[i].level, options[i].name, &value, &len) == 0)
			put("%s of %s: %d\n", options[i].what, what, value);
	}
	struct timeval time = { 0, 0 };
	struct linger linger = { 0, 0 };
	socklen_t len = sizeof(time);
	getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, &len);
	put("SO_RCVTIMEO of %s: %ld.%06ld\n", what, (long)time.tv_sec, (long)time.tv_usec);
	getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, &len);
	put("SO_SNDTIMEO of %s: %ld.%06ld\n", what, (long)time.tv_sec, (long)time.tv_usec);
	len = sizeof(linger);
	getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len);
	put("SO_LINGER of %s: %d %d\n", what, linger.l_onoff, linger.l_linger);
	int family = 0, kind = 0;
	len = sizeof(int);
	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &len);
	put("family and type of %s: %d %d\n", what, family, kind);
}

static void set_sockets(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 at6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof(at);
	tcp = socket(AF_INET, SOCK_STREAM, 0);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	udp_to = socket(AF_INET, SOCK_DGRAM, 0);
	udp6 = socket(AF_INET6, SOCK_DGRAM, 0);
	lonely = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	set_socket(tcp);
	set_socket(udp);
	set_socket(udp_to);
	set_socket(udp6);
	set_socket(lonely);
	CHECK(bind(tcp, (void *)&at, sizeof(at)) == 0 && listen(tcp, 5) == 0);
	CHECK(bind(udp, (void *)&at, sizeof(at)) == 0);
	CHECK(bind(udp6, (void *)&at6, sizeof(at6)) == 0);
	CHECK(getsockname(udp, (void *)&at, &len) == 0);
	CHECK(connect(udp_to, (void *)&at, sizeof(at)) == 0);
}

static void tell_sockets(void)
{
	tell_socket("a listening socket", tcp);
	tell_socket("a bound one", udp);
	tell_socket("a connected one", udp_to);
	tell_socket("one of IPv6", udp6);
	tell_socket("a lonely one", lonely);
	struct sockaddr_in own, to, from;
	socklen_t len = sizeof(own);
	memset(&own, 0, sizeof(own));
	memset(&to, 0, sizeof(to));
	int named = getsockname(udp_to, (void *)&own, &len);
	len = sizeof(to);
	int connected = getpeername(udp_to, (void *)&to, &len);
	put("a connected one: %d %d port %d to port %d\n", named, connected, ntohs(own.sin_port), ntohs(to.sin_port));
	char text[8] = "";
	int sent = send(udp_to, "hello", 5, 0);
	len = sizeof(from);
	memset(&from, 0, sizeof(from));
	int got = sent == 5 ? recvfrom(udp, text, 8, 0, (void *)&from, &len) : -1;
	put("it sends %d, there come %d of port %d\n", sent, got, ntohs(from.sin_port));
}

/* ------------------------------------------------------------------ datagrams that wait */
static int bound, named, unnamed, via;

static socklen_t address(struct sockaddr_un *at, const char *name)
{
	memset(at, 0, sizeof(*at));
	at->sun_family = AF_UNIX;
	strcpy(at->sun_path, name);
	return offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
}

static void set_datagrams(void)
{
	struct sockaddr_un at;
	bound = socket(AF_UNIX, SOCK_DGRAM, 0);
	named = socket(AF_UNIX, SOCK_DGRAM, 0);
	unnamed = socket(AF_UNIX, SOCK_DGRAM, 0);
	via = socket(AF_UNIX, SOCK_DGRAM, 0);
	unlink("bound");
	unlink("named");
	CHECK(bind(named, (void *)&at, address(&at, "named")) == 0);
	CHECK(bind(bound, (void *)&at, address(&at, "bound")) == 0);
	CHECK(connect(via, (void *)&at, address(&at, "bound")) == 0);
	socklen_t len = address(&at, "bound");
	CHECK(sendto(named, "first", 5, 0, (void *)&at, len) == 5);
	CHECK(sendto(unnamed, "second", 6, 0, (void *)&at, len) == 6);
	CHECK(sendto(named, "third", 5, 0, (void *)&at, len) == 5);
	CHECK(send(via, "fourth", 6, 0) == 6);
	CHECK(write(dgram[1], "one", 3) == 3 && write(dgram[1], "two", 3) == 3 && write(dgram[1], "three", 5) == 5);
	CHECK(write(seq[1], "one", 3) == 3 && write(seq[1], "two", 3) == 3);
}

static void tell_datagrams(void)
{
	if (strcmp(now_at, "before") == 0)
		return;
	for (int i = 0; i < 4; i++) {
		char text[16] = "";
		struct sockaddr_un from;
		socklen_t len = sizeof(from);
		memset(&from, 0, sizeof(from));
		int got = recvfrom(bound, text, 15, MSG_DONTWAIT, (void *)&from, &len);
		put("datagram %d: %d %s, from %.*s\n", i, got, text, len > 2 ? (int)len - 2 : 1, len > 2 ? from.sun_path : "-");
	}
	char text[16] = "";
	for (int i = 0; i < 3; i++) {
		int got = recv(dgram[0], text, 15, MSG_DONTWAIT);
		put("in a pair: %d %.*s\n", got, got > 0 ? got : 0, text);
	}
	for (int i = 0; i < 2; i++) {
		int got = recv(seq[0], text, 15, MSG_DONTWAIT);
		put("in a pair of packets: %d %.*s\n", got, got > 0 ? got : 0, text);
	}
	struct sockaddr_un at;
	put("sent again: %d %d\n", (int)send(via, "more", 4, 0),
	     (int)sendto(named, "more", 4, 0, (void *)&at, address(&at, "bound")));
}

/* ------------------------------------------------------------------ pipes, memory with a descriptor, files */
static int memory, counter, path_only, temporary, cut;

static void set_files(void)
{
	CHECK(fcntl(ends[0], F_SETPIPE_SZ, 16384) == 16384);
	memory = memfd_create("mem", MFD_ALLOW_SEALING);
	CHECK(ftruncate(memory, 5000) == 0 && fchmod(memory, 0640) == 0);
	CHECK(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
	counter = eventfd(5, EFD_SEMAPHORE);
	path_only = open("/etc/passwd", O_PATH);
	temporary = open(".", O_TMPFILE | O_RDWR | O_APPEND, 0640);
	CHECK(temporary >= 0 && fchmod(temporary, 0604) == 0 && write(temporary, "abc", 3) == 3);
	struct timespec times[2] = { { 1000, 5 }, { 2000, 6 } };
	CHECK(futimens(temporary, times) == 0);
	cut = open("synced", O_CREAT | O_RDWR | O_SYNC | O_NOATIME, 0600);
	CHECK(cut >= 0);
}

static void tell_files(void)
{
	struct stat facts;
	put("a pipe holds %d\n", fcntl(ends[0], F_GETPIPE_SZ));
	CHECK(fstat(memory, &facts) == 0);
	put("memory: seals %x, mode %o, size %ld\n", fcntl(memory, F_GET_SEALS), facts.st_mode, (long)facts.st_size);
	uint64_t n = 0;
	CHECK(read(counter, &n, 8) == 8);
	put("a semaphore gives %d\n", (int)n);
	CHECK(write(counter, &n, 8) == 8);
	put("a path: %x\n", fcntl(path_only, F_GETFL));
	CHECK(fstat(temporary, &facts) == 0);
	put("a file without a name: mode %o, links %d, size %ld, changed %ld.%ld, flags %x\n", facts.st_mode,
	     (int)facts.st_nlink, (long)facts.st_size, (long)facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec,
	     fcntl(temporary, F_GETFL) & ~O_TMPFILE);
	put("a file: %x\n", fcntl(cut, F_GETFL));
}

/* ------------------------------------------------------------------ epoll */
static int edges, edge_pipe[2], once_pipe[2];

static void set_epoll(void)
{
	struct epoll_event e = { EPOLLIN | EPOLLET, { .u64 = 7 } };
	edges = epoll_create1(0);
	CHECK(pipe(edge_pipe) == 0 && pipe(once_pipe) == 0);
	CHECK(epoll_ctl(edges, EPOLL_CTL_ADD, edge_pipe[0], &e) == 0);
	CHECK(write(edge_pipe[1], "x", 1) == 1);
	CHECK(epoll_wait(edges, &e, 1, 0) == 1);
	e.events = EPOLLIN | EPOLLONESHOT;
	e.data.u64 = 8;
	CHECK(epoll_ctl(edges, EPOLL_CTL_ADD, once_pipe[0], &e) == 0);
	CHECK(write(once_pipe[1], "x", 1) == 1);
	CHECK(epoll_wait(edges, &e, 1, 0) == 1 && e.data.u64 == 8);
}

static void tell_epoll(void)
{
	struct epoll_event e = { 0, { .u64 = 0 } };
	int found = epoll_wait(edges, &e, 1, 0);
	put("edges that were told already: %d\n", found);
}

/* ------------------------------------------------------------------ the process */
static int prctl_of(int option)
{
	return prctl(option, 0, 0, 0, 0);
}

static void set_process(void)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGURG) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_TIMERSLACK, 123456) == 0);
	CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
	CHECK(personality(personality(0xffffffff) | UNAME26) >= 0);
	struct rlimit limit = { 1000, 1000 };
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	struct sched_param none = { 0 };
	CHECK(sched_setscheduler(0, SCHED_BATCH, &none) == 0);
	CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0);
	CHECK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6) == 0);
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	CHECK(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	CHECK(fd >= 0 && write(fd, "321", 3) == 3 && close(fd) == 0);
	umask(027);
	if (geteuid() == 0) {
		struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct data[2];
		CHECK(syscall(SYS_capget, &head, data) == 0);
		data[0].effective &= ~(1u << CAP_NET_RAW);
		data[0].permitted &= ~(1u << CAP_NET_RAW);
		CHECK(syscall(SYS_capset, &head, data) == 0);
		CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0) == 0);
		gid_t groups[2] = { 4, 5 };
		CHECK(syscall(SYS_setgroups, 2, groups) == 0);
	}
}

static void tell_file(const char *path, const char *key)
{
	char text[8192] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		strcpy(text, "?");
	close(fd);
	char *at = *key ? strstr(text, key) : text;
	if (at)
		put("%s: %.*s\n", path, (int)strcspn(at, "\n"), at);
}

static void tell_process(void)
{
	int value = -1;
	prctl(PR_GET_CHILD_SUBREAPER, &value);
	put("subreaper %d\n", value);
	prctl(PR_GET_PDEATHSIG, &value);
	put("pdeathsig %d\n", value);
	put("dumpable %d, keepcaps %d, nnp %d, slack %d, securebits %d, thp %d\n", prctl_of(PR_GET_DUMPABLE),
	     prctl_of(PR_GET_KEEPCAPS), prctl_of(PR_GET_NO_NEW_PRIVS), prctl_of(PR_GET_TIMERSLACK),
	     prctl_of(PR_GET_SECUREBITS), prctl_of(PR_GET_THP_DISABLE));
	put("personality %x\n", personality(0xffffffff));
	struct rlimit limit;
	for (int i = 0; i < 16; i++) {
		CHECK(getrlimit(i, &limit) == 0);
		put("limit %d: %ld %ld\n", i, (long)limit.rlim_cur, (long)limit.rlim_max);
	}
	errno = 0;
	put("policy %d, nice %d, io %ld\n", sched_getscheduler(0), getpriority(PRIO_PROCESS, 0),
	     syscall(SYS_ioprio_get, 1, 0));
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	put("cpus %d\n", CPU_COUNT(&cpus));
	tell_file("/proc/self/oom_score_adj", "");
	mode_t mask = umask(0);
	umask(mask);
	put("umask %o\n", mask);
	if (geteuid() == 0) {
		struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct data[2];
		CHECK(syscall(SYS_capget, &head, data) == 0);
		put("capabilities %x %x, bounding %d\n", data[0].effective, data[0].permitted,
		     prctl(PR_CAPBSET_READ, CAP_SYS_BOOT, 0, 0, 0));
	}
	gid_t groups[64];
	int n = getgroups(64, groups);
	put("groups %d:", n);
	for (int i = 0; i < n; i++)
		put(" %d", groups[i]);
	put("\n");
	sigset_t mask_now;
	sigprocmask(SIG_SETMASK, NULL, &mask_now);
	put("mask %d\n", sigismember(&mask_now, SIGHUP));
}

/* ------------------------------------------------------------------ memory */
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
static char *part;

static void set_memory(void)
{
	part = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(part != MAP_FAILED);
	CHECK(madvise(part, 4096, MADV_NOHUGEPAGE) == 0);
	CHECK(madvise(part + 8192, 4096, MADV_SEQUENTIAL) == 0);
	CHECK(madvise(part + 4 * 4096, 4096, MADV_DONTDUMP) == 0);
	CHECK(madvise(part + 6 * 4096, 4096, MADV_WIPEONFORK) == 0);
	CHECK(mlock(part + 8 * 4096, 4096) == 0);
	syscall(324 /* membarrier */, 16, 0, 0); /* REGISTER_PRIVATE_EXPEDITED */
}

static void tell_memory(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	CHECK(f);
	char line[512];
	unsigned long start = 0, end = 0;
	while (fgets(line, sizeof(line), f)) {
		unsigned long a, b;
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2 && strchr(line, '-') < strchr(line, ' '))
			start = a, end = b;
		if (strncmp(line, "VmFlags:", 8) == 0 && start < (unsigned long)part + 16 * 4096 && end > (unsigned long)part) {
			put("flags at %ld:", start > (unsigned long)part ? (long)(start - (unsigned long)part) / 4096 : 0);
			for (char *word = strtok(line + 8, " \n"); word; word = strtok(NULL, " \n"))
				if (strcmp(word, "uw") && strcmp(word, "sd"))
					put(" %s", word);
			put("\n");
		}
	}
	fclose(f);
	put("membarrier %ld\n", syscall(324, 8, 0, 0)); /* PRIVATE_EXPEDITED */
}

/* ------------------------------------------------------------------ timers that are set for a time of the clock */
static int of_day, of_boot;
static timer_t by_number;
static struct timespec due;

static void set_timers(void)
{
	struct sigevent nobody = { .sigev_notify = SIGEV_NONE };
	struct itimerspec at = { { 0, 0 }, { 0, 0 } };
	CHECK(clock_gettime(CLOCK_REALTIME, &due) == 0);
	due.tv_sec += 4;
	at.it_value = due;
	of_day = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	CHECK(timerfd_settime(of_day, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL) == 0);
	CHECK(timer_create(CLOCK_REALTIME, &nobody, &by_number) == 0);
	CHECK(timer_settime(by_number, TIMER_ABSTIME, &at, NULL) == 0);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &at.it_value) == 0);
	at.it_value.tv_sec += 3600;
	of_boot = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	CHECK(timerfd_settime(of_boot, TFD_TIMER_ABSTIME, &at, NULL) == 0);
}

static void tell_timers(void)
{
	if (strcmp(now_at, "before") == 0)
		return;
	struct timespec then = due;
	then.tv_nsec += 500000000;
	then.tv_sec += then.tv_nsec / 1000000000;
	then.tv_nsec %= 1000000000;
	while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &then, NULL) != 0)
		;
	uint64_t n = 0;
	int got = read(of_day, &n, 8);
	struct itimerspec left;
	CHECK(timer_gettime(by_number, &left) == 0);
	put("a timer of the day: %d %d, one with a number: %d\n", got, (int)n,
	    left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
	CHECK(timerfd_gettime(of_boot, &left) == 0);
	put("one of the boot: %d\n", left.it_value.tv_sec > 3000 && left.it_value.tv_sec < 3600);
}

/* ------------------------------------------------------------------ what there is no image of */
static void set_dumpable(void) { CHECK(prctl(PR_SET_DUMPABLE, 0) == 0); }
static void set_keepcaps(void) { CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0); }
static void set_machine_checks(void) { CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0); }
static void set_notify(void)
{
	signal(SIGIO, SIG_IGN);
	CHECK(fcntl(open(".", O_RDONLY), F_NOTIFY, DN_CREATE | DN_MULTISHOT) == 0);
}

static void set_terminal(void)
{
	CHECK(open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0);
}

static void set_group(void)
{
	struct ip_mreq group = { { inet_addr("224.0.0.77") }, { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
}

static void set_filter(void)
{
	struct sock_filter all = { 6, 0, 0, 0xffffffff };
	struct sock_fprog program = { 1, &all };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
}

static void set_locked(void) { CHECK(mlockall(MCL_FUTURE) == 0); }
static void set_seal(void)
{
	void *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(syscall(SYS_mseal, at, 4096, 0) == 0);
}

static void set_empty(void)
{
	CHECK(write(dgram[1], "", 0) == 0);
}

static void set_stranger(void)
{
	struct sockaddr_un at;
	int to = socket(AF_UNIX, SOCK_DGRAM, 0), from = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(bind(to, (void *)&at, address(&at, "to")) == 0 && bind(from, (void *)&at, address(&at, "from")) == 0);
	socklen_t len = address(&at, "to");
	CHECK(sendto(from, "x", 1, 0, (void *)&at, len) == 1 && close(from) == 0);
}

static void set_removed(void)
{
	CHECK(mkdir("gone", 0700) == 0 && open("gone", O_RDONLY) >= 0 && rmdir("gone") == 0);
}

static void set_pidfd(void) { CHECK(syscall(SYS_pidfd_open, child, 0) >= 0); }
static void set_watch(void) { CHECK(inotify_add_watch(inotify_init(), ".", IN_CREATE) >= 0); }
static void set_beyond(void) { CHECK(fcntl(ends[0], F_SETOWN, getppid()) == 0); }
static void set_process_file(void) { CHECK(open("/proc/self/maps", O_RDONLY) >= 0); }
static void set_segments(void)
{
	struct user_desc one = { .entry_number = 1, .limit = 1, .seg_32bit = 1 };
	CHECK(syscall(SYS_modify_ldt, 1, &one, sizeof(one)) == 0);
}

/* The end that says it is closed. */
static void set_packets(void)
{
	int both[2];
	CHECK(pipe2(both, O_DIRECT) == 0 && write(both[1], "a", 1) == 1 && close(both[1]) == 0);
}

static void set_packets_later(void) { CHECK(fcntl(ends[1], F_SETFL, O_DIRECT) == 0); }

static void tell_nothing(void) { }

static struct { const char *name; void (*set)(void), (*told)(void); } rows[] = {
	{ "owners", set_owners, tell_owners },
	{ "sockets", set_sockets, tell_sockets },
	{ "datagrams", set_datagrams, tell_datagrams },
	{ "files", set_files, tell_files },
	{ "epoll", set_epoll, tell_epoll },
	{ "process", set_process, tell_process },
	{ "memory", set_memory, tell_memory },
	{ "timers", set_timers, tell_timers },
	{ "dumpable", set_dumpable, tell_nothing },
	{ "keepcaps", set_keepcaps, tell_nothing },
	{ "machine_checks", set_machine_checks, tell_nothing },
	{ "notify", set_notify, tell_nothing },
	{ "terminal", set_terminal, tell_nothing },
	{ "group", set_group, tell_nothing },
	{ "filter", set_filter, tell_nothing },
	{ "locked", set_locked, tell_nothing },
	{ "seal", set_seal, tell_nothing },
	{ "empty", set_empty, tell_nothing },
	{ "stranger", set_stranger, tell_nothing },
	{ "removed", set_removed, tell_nothing },
	{ "pidfd", set_pidfd, tell_nothing },
	{ "watch", set_watch, tell_nothing },
	{ "beyond", set_beyond, tell_nothing },
	{ "process_file", set_process_file, tell_nothing },
	{ "segments", set_segments, tell_nothing },
	{ "packets", set_packets, tell_nothing },
	{ "packets_later", set_packets_later, tell_nothing },
};

static void all(const char *at, const char *one)
{
	now_at = at;
	out = open(at, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(out >= 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!one || strcmp(one, rows[i].name) == 0)
			rows[i].told();
	close(out);
}

int main(int argc, char **argv)
{
	const char *one = argc > 1 ? argv[1] : NULL;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seq) == 0);
	CHECK(pipe(ends) == 0);
	child = fork();
	if (child == 0) {
		while (access("hurry", F_OK) != 0 && access("after", F_OK) != 0)
			usleep(20000);
		_exit(0);
	}
	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!one || strcmp(one, rows[i].name) == 0)
			rows[i].set();
	all("before", one);
	while (access("hurry", F_OK) != 0)
		usleep(20000);
	all("after", one);
	CHECK(waitpid(child, NULL, 0) == child);
	return 0;
}
