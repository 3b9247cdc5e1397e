/* server_listen.c: listening sockets. SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/base/base.h"
#include "src/net/server.h"

/* Of each connection, in the kernel. Left alone it grows to megabytes for a client that reads slowly; this still carries
 * some megabytes a second over the longest ways. */
enum { SEND_BUFFER_BYTES = 256 << 10 };

/* "host:port", "[v6]:port", ":port" taken apart; host "" where there is none. */
static bool split_address(const char *address, char *host, size_t host_size, const char **port) {
    const char *start = address, *end;
    if (*address == '[') {
        start = address + 1;
        end = strchr(start, ']');
        if (!end || end[1] != ':') return false;
        *port = end + 2;
    } else {
        end = strrchr(address, ':');
        if (!end || memchr(address, ':', (size_t)(end - address))) return false; /* IPv6 needs its brackets */
        *port = end + 1;
    }
    size_t len = (size_t)(end - start);
    if (len >= host_size || !**port || strspn(*port, "0123456789") != strlen(*port) || strlen(*port) > 5) return false;
    memcpy(host, start, len);
    host[len] = 0;
    return true;
}

/* With SO_REUSEPORT a second program of the same user would share the address unnoticed: without it, binding tells. */
static bool is_taken(const struct addrinfo *at) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), on = 1;
    if (fd < 0) return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool taken = bind(fd, at->ai_addr, at->ai_addrlen) != 0 && errno == EADDRINUSE;
    close(fd);
    return taken;
}

static int listen_on(const struct addrinfo *at, int backlog, bool first) {
    if (first && is_taken(at)) {
        errno = EADDRINUSE;
        return -1;
    }
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) return -1;
    int on = 1, off = 0, send = SEND_BUFFER_BYTES;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit both */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send);
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)at->ai_addr;
    if (at->ai_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr))
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* every address, IPv4's too */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 && bind(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        listen(fd, backlog > 0 ? backlog : SOMAXCONN) == 0)
        return fd;
    int failed = errno;
    close(fd);
    errno = failed;
    return -1;
}

weir_status weirp_listen(int *fd, const char *address, int backlog, bool first, weir_error *err) {
    *fd = -1;
    char host[256];
    const char *port;
    if (!split_address(address, host, sizeof host, &port) || strtoul(port, NULL, 10) > 65535)
        return weirp_fail(err, WEIR_INVALID, 0, "%s: not an address to listen on (127.0.0.1:8080, [::1]:8080, :8080)",
                          address);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(*host ? host : "::", port, &hints, &found);
    if (failed && !*host) failed = getaddrinfo("0.0.0.0", port, &hints, &found);
    if (failed) return weirp_fail(err, WEIR_NET, 0, "%s: %s", address, gai_strerror(failed));
    for (const struct addrinfo *at = found; at && *fd < 0; at = at->ai_next) *fd = listen_on(at, backlog, first);
    int why = errno;
    freeaddrinfo(found);
    if (*fd < 0 && !*host && why == EAFNOSUPPORT) { /* a machine without IPv6 */
        char four[16];
        snprintf(four, sizeof four, "0.0.0.0:%s", port);
        return weirp_listen(fd, four, backlog, first, err);
    }
    return *fd < 0 ? weirp_fail(err, WEIR_NET, 0, "%s: cannot listen: %s", address, strerror(why)) : WEIR_OK;
}

void weirp_listen_name(int fd, char *out, size_t size) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    char host[INET6_ADDRSTRLEN] = "?";
    memset(&at, 0, sizeof at);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        snprintf(out, size, "?");
    } else if (at.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&at;
        inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%u", host, ntohs(six->sin6_port));
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&at;
        inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%u", host, ntohs(four->sin_port));
    }
}
