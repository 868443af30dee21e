/*
 * The take-over: a copy of the program becomes the rank's spawner before main.
 *
 * The rank starts /proc/self/exe with one variable more, MANTA_SPAWNER=token, and a socket
 * at descriptor 3. A constructor of the library sees the variable, and believes it only if
 * the descriptor is a seqpacket socket whose other end was made by this process's parent,
 * of the same user, and the first packet waiting in it holds the same token. Anything else
 * is somebody's stale environment: the variable is removed and the program runs as ever.
 *
 * Constructors of the library run before those of the program, and isolated functions need
 * the latter: tasks are registered by them, and C++ objects made. So the constructor puts
 * its own function in the place of the program's last one (the end of DT_INIT_ARRAY, in
 * memory that is this process's own), which calls the replaced one, then takes over. Where
 * there is no such array, a static program, it takes over at once. If main runs all the
 * same, because the library was loaded later, the first spawn_create ends here
 * (takeover_if_due): a spawner never starts spawners.
 *
 * The constructor also closes every descriptor above the socket: those that the
 * application forgot to mark close-on-exec would live in all commands.
 */
#include "spawn/takeover.h"

#include "spawn/channel.h"

#include <dirent.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

typedef void initialiser(int argc, char **argv, char **environment);

/* Of the process, because its code is: set before main, read by the spawner. */
static spawn_run_isolated *run_isolated;
static initialiser *replaced;
static bool is_due;

void spawn_set_isolated(spawn_run_isolated *run)
{
    run_isolated = run;
}

void takeover_variable(const uint8_t token[MESSAGE_TOKEN_BYTES], char text[TAKEOVER_VARIABLE_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    int at = snprintf(text, TAKEOVER_VARIABLE_BYTES, "%s=", TAKEOVER_NAME);
    for (int i = 0; i < MESSAGE_TOKEN_BYTES; i++) {
        text[at++] = digits[token[i] >> 4];
        text[at++] = digits[token[i] & 15];
    }
    text[at] = 0;
}

static bool is_parents_socket(void)
{
    int type = 0;
    struct ucred peer = {0};
    socklen_t type_bytes = sizeof type, peer_bytes = sizeof peer;
    return getsockopt(TAKEOVER_FD, SOL_SOCKET, SO_TYPE, &type, &type_bytes) == 0 &&
           type == SOCK_SEQPACKET &&
           getsockopt(TAKEOVER_FD, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) == 0 &&
           peer.pid == getppid() && peer.uid == geteuid();
}

/* In a time that does not depend on where they differ. */
static bool is_equal(const char *a, const char *b, size_t size)
{
    unsigned char difference = 0;
    for (size_t i = 0; i < size; i++) {
        difference |= (unsigned char)(a[i] ^ b[i]);
    }
    return difference == 0;
}

static bool has_token(const char *value)
{
    struct {
        uint8_t envelope[16];
        struct hello hello;
    } peeked;
    char expected[TAKEOVER_VARIABLE_BYTES];
    if (strlen(value) != 2 * MESSAGE_TOKEN_BYTES ||
        recv(TAKEOVER_FD, &peeked, sizeof peeked, MSG_PEEK | MSG_DONTWAIT) !=
            (ssize_t)sizeof peeked ||
        peeked.hello.magic != MESSAGE_MAGIC) {
        return false;
    }
    takeover_variable(peeked.hello.token, expected);
    return is_equal(value, expected + sizeof TAKEOVER_NAME, 2 * MESSAGE_TOKEN_BYTES);
}

static void close_others(void)
{
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        int fd = atoi(entry->d_name);
        if (fd > TAKEOVER_FD && fd != dirfd(folder)) {
            close(fd);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

static void take_over(void)
{
    is_due = false;
    spawner_main(TAKEOVER_FD, run_isolated);
}

static void run_last(int argc, char **argv, char **environment)
{
    replaced(argc, argv, environment);
    take_over();
}

/* The program's own dynamic section; the first object listed is the program. */
static int find_array(struct dl_phdr_info *info, size_t size, void *arg)
{
    const ElfW(Dyn) *entry = NULL;
    size_t bytes = 0;
    uintptr_t array = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) {
            entry = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        }
    }
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        array = entry->d_tag == DT_INIT_ARRAY ? info->dlpi_addr + entry->d_un.d_ptr : array;
        bytes = entry->d_tag == DT_INIT_ARRAYSZ ? entry->d_un.d_val : bytes;
    }
    if (array && bytes >= sizeof(initialiser *)) {
        *(initialiser ***)arg = (initialiser **)(array + bytes - sizeof(initialiser *));
    }
    return 1;
}

static bool is_own(initialiser *last);

static bool replace_last(void)
{
    initialiser **last = NULL;
    dl_iterate_phdr(find_array, &last);
    if (!last || is_own(*last)) {
        return false;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)last & ~(page - 1);
    if (mprotect((void *)start, page, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    replaced = *last;
    *last = run_last;
    return true;
}

__attribute__((constructor)) static void look(void)
{
    const char *value = getenv(TAKEOVER_NAME);
    if (!value) {
        return;
    }
    is_due = is_parents_socket() && has_token(value);
    unsetenv(TAKEOVER_NAME);
    if (!is_due) {
        return;
    }
    fcntl(TAKEOVER_FD, F_SETFD, FD_CLOEXEC);
    close_others();
    if (!replace_last()) {
        take_over();
    }
}

static bool is_own(initialiser *last)
{
    return last == (initialiser *)(void *)look;
}

void takeover_if_due(void)
{
    if (is_due) {
        take_over();
    }
}
