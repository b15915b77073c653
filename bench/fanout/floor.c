/* The least a WebSocket fan-out can cost: one epoll loop in C that frames a message once and calls
 * send() for every client.
 *
 *   floor single|joined INPUT
 *
 * Listens on a TCP port of 127.0.0.1, says `port N`; reads messages (four bytes of length, then the
 * text) from a Unix stream socket it listens on at INPUT. `single`: one send() per message and
 * client. `joined`: one send() per read of the input and client.
 *
 * No server: it answers every handshake with the key that the benchmark's client sends, reads
 * nothing from clients afterwards, and ends with an error when one cannot take a whole write.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { INPUT = 1 << 20, CLIENTS = 1 << 16 };
static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n";

static int clients[CLIENTS], client_count, upgraded[CLIENTS], epoll_fd, joined;
static unsigned char input[INPUT], out[INPUT * 2];
static size_t input_size;

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void fan_out(size_t size) {
    for (int i = 0; i < client_count; i++)
        if (send(clients[i], out, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
            die("a client did not take a whole write");
}

static void take_input(int fd) {
    ssize_t got = read(fd, input + input_size, INPUT - input_size);
    if (got <= 0) exit(0);
    input_size += (size_t)got;
    size_t at = 0, written = 0;
    while (input_size - at >= 4) {
        size_t length = (size_t)input[at] << 24 | (size_t)input[at + 1] << 16 |
                        (size_t)input[at + 2] << 8 | input[at + 3];
        if (input_size - at < 4 + length) break;
        unsigned char *frame = out + written;
        *frame++ = 0x81;
        if (length < 126) {
            *frame++ = (unsigned char)length;
        } else {
            *frame++ = 126;
            *frame++ = (unsigned char)(length >> 8);
            *frame++ = (unsigned char)length;
        }
        memcpy(frame, input + at + 4, length);
        written = (size_t)(frame - out) + length;
        at += 4 + length;
        if (!joined) {
            fan_out(written);
            written = 0;
        }
    }
    if (written) fan_out(written);
    memmove(input, input + at, input_size - at);
    input_size -= at;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    joined = !strcmp(argv[1], "joined");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll_fd = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM, 0), source = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    strncpy(path.sun_path, argv[2], sizeof path.sun_path - 1);
    socklen_t size = sizeof address;
    if (bind(source, (struct sockaddr *)&path, sizeof path) || listen(source, 1)) die(argv[2]);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    watch(listener);
    watch(source);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    int feed = -1;
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL), one = 1;
                if (client < 0 || client >= CLIENTS) die("accept");
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                watch(client);
            } else if (fd == source) {
                feed = accept(source, NULL, NULL);
                watch(feed);
            } else if (fd == feed) {
                take_input(fd);
            } else {
                char request[4096];
                ssize_t got = read(fd, request, sizeof request);
                if (got <= 0) {
                    for (int k = 0; k < client_count; k++)
                        if (clients[k] == fd) clients[k] = clients[--client_count];
                    upgraded[fd] = 0;
                    close(fd);
                } else if (!upgraded[fd]) { /* the client sends its request in one write */
                    if (write(fd, answer, sizeof answer - 1) < 0) die("answer");
                    upgraded[fd] = 1;
                    clients[client_count++] = fd;
                }
            }
        }
    }
}
