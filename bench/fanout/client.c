/* Many WebSocket clients in one process, cheap enough not to be what is measured.
 *
 *   client -p PORT -n COUNT [-u PATH] [-s SUBPROTOCOL] [-z] [-j JOIN_FILE] [-w WORD] [-k IN_FLIGHT]
 *          [-t TYPE] [-q PAUSE_US]
 *
 * Connects COUNT clients (at most IN_FLIGHT handshakes at a time), each from an address of
 * 127.0.1.0/24 and further, 500 clients an address; sends the text in JOIN_FILE on each as one
 * masked frame; a client is joined when a text frame that contains WORD came (at once if there is no
 * WORD). `-z` offers permessage-deflate as browsers do. Says `ready` when all have joined, `lost N`
 * when the last of those that can has.
 *
 * With `-q` it looks at its sockets only every PAUSE_US once all have joined. A client that sleeps
 * until data come is woken by the sender, at the sender's cost, which no client on another machine
 * would be; one that is not waiting costs the sender nothing beyond the delivery.
 *
 * Commands on standard input, one line of JSON each in answer:
 *   read      what was counted since the start
 *   latency   percentiles of the delays sampled since the last such command, in µs
 * End of input ends the program.
 *
 * A message is an object of type TYPE ("price"); a frame holds one, or an array of several. Compressed
 * frames are inflated when the server promised server_no_context_takeover (the last one is
 * remembered: a shared frame is inflated once), else one frame is taken for one message. Delays are
 * the time of the read minus "recv_us", on about 20 of the clients.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_ZLIB
#include <zlib.h>
#endif

enum { BUFFER = 1 << 20, SAMPLES = 1 << 21, PER_ADDRESS = 500, MARK_DIGITS = 16 };
enum state { CONNECTING, UPGRADING, JOINING, JOINED, GONE };

struct client {
    int fd, number;
    enum state state;
    char shares;  /* every compressed frame stands alone */
    char *rest;
    size_t rest_size;
};

static struct client *clients;
static int count, in_flight, next_number, epoll_fd, port, joined, gone, stride, last_close;
static long long frames, compressed, messages, bytes_in, reads;
static unsigned char *buffer;
static uint32_t *samples;
static size_t sample_count;
static char request[4096], join[1 << 16];
static size_t request_size, join_size;
static const char *word = "";
static char type_head[64] = "{\"type\":\"price\"";
static int has_spoken, pause_us;

static void die(const char *what) {
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void put(struct client *c, const void *data, size_t size) {
    if (send(c->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) die("send");
}

static void connect_next(void) {
    int number = next_number++;
    struct client *c = &clients[number];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    if (fd < 0) die("socket (too few file descriptors?)");
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000101u + (uint32_t)(number / PER_ADDRESS));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)port);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
    c->fd = fd;
    c->number = number;
    c->state = CONNECTING;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void progress(void) {
    while (next_number < count && next_number - joined - gone < in_flight) connect_next();
}

static void speak(void) {
    if (has_spoken || joined + gone < count) return;
    has_spoken = 1;
    if (gone) printf("lost %d\n", gone);
    else printf("ready\n");
    fflush(stdout);
}

static void lose(struct client *c) {
    if (c->state != JOINED && c->state != GONE && !gone)
        fprintf(stderr, "client: refused before it had joined (close code %d)\n", last_close);
    if (c->state == JOINED) joined--;
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->rest_size = 0;
    c->state = GONE;
    gone++;
    progress();
    speak();
}

static void has_joined(struct client *c) {
    c->state = JOINED;
    joined++;
    progress();
    speak();
}

static void sample(const unsigned char *text, size_t size, int64_t at_us) {
    static const char key[] = "\"recv_us\":";
    const char *mark = memmem(text, size, key, sizeof key - 1);
    if (!mark || sample_count == SAMPLES) return;
    mark += sizeof key - 1;
    if (mark + MARK_DIGITS > (const char *)text + size) return;
    int64_t due = strtoll(mark, NULL, 10), delay = at_us - due;
    samples[sample_count++] = delay < 0 ? 0 : (uint32_t)delay;
}

static long long messages_in(const unsigned char *text, size_t size) {
    const char *head = type_head;
    size_t head_size = strlen(head);
    if (size < head_size) return 0;
    if (text[0] == '{') return !memcmp(text, head, head_size);
    if (text[0] != '[') return 0;
    long long found = 0;
    const unsigned char *end = text + size, *at = text;
    while ((at = memmem(at, (size_t)(end - at), head, head_size))) {
        found++;
        at += head_size;
    }
    return found;
}

static void inflated(struct client *c, const unsigned char *data, size_t size, int64_t at_us) {
    compressed++;
    if (!c->shares) {
        messages += c->state == JOINED;
        return;
    }
#ifdef WITH_ZLIB
    static unsigned char last[1 << 16], plain[1 << 22];
    static size_t last_size, plain_size;
    if (size != last_size || memcmp(last, data, size)) {
        static const unsigned char tail[4] = {0, 0, 0xff, 0xff};
        z_stream z = {.next_in = (unsigned char *)data, .avail_in = (unsigned)size,
                      .next_out = plain, .avail_out = sizeof plain};
        if (inflateInit2(&z, -15) != Z_OK) die("inflateInit2");
        int code = inflate(&z, Z_NO_FLUSH);
        z.next_in = (unsigned char *)tail;
        z.avail_in = 4;
        if (code == Z_OK || code == Z_BUF_ERROR) code = inflate(&z, Z_SYNC_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
            fprintf(stderr, "client: a compressed frame cannot be inflated\n");
            exit(1);
        }
        plain_size = z.total_out;
        inflateEnd(&z);
        last_size = size <= sizeof last ? size : 0;
        memcpy(last, data, last_size);
    }
    messages += messages_in(plain, plain_size);
    if (c->number % stride == 0) sample(plain, plain_size, at_us);
#else
    messages++;
#endif
}

static size_t take_frames(struct client *c, unsigned char *data, size_t size, int64_t at_us) {
    size_t start = 0;
    while (size - start >= 2) {
        unsigned char *frame = data + start;
        uint64_t length = frame[1] & 0x7f, head = 2;
        if (length == 126) {
            if (size - start < 4) break;
            length = (uint64_t)frame[2] << 8 | frame[3];
            head = 4;
        } else if (length == 127) {
            if (size - start < 10) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | frame[i];
            head = 10;
        }
        if (size - start < head + length) break;
        unsigned char *payload = frame + head;
        int opcode = frame[0] & 0xf;
        if (opcode == 1 || opcode == 2) {
            if (frame[0] & 0x40) {
                frames++;
                inflated(c, payload, length, at_us);
                if (c->state == JOINING) has_joined(c);
            } else {
                long long found = messages_in(payload, length);
                if (found) {
                    frames++;
                    messages += found;
                    if (c->number % stride == 0) sample(payload, length, at_us);
                }
                if (c->state == JOINING && memmem(payload, length, word, strlen(word)))
                    has_joined(c);
            }
        } else if (opcode == 9 && length < 126) {
            unsigned char pong[131] = {0x8a, 0x80 | (unsigned char)length};
            memcpy(pong + 6, payload, length);
            put(c, pong, 6 + length);
        } else if (opcode == 8 && length >= 2) {
            last_close = payload[0] << 8 | payload[1];
        }
        start += head + length;
    }
    return start;
}

static void join_now(struct client *c) {
    if (join_size) {
        unsigned char head[8] = {0x81, 0xfe, (unsigned char)(join_size >> 8),
                                 (unsigned char)join_size};
        size_t head_size = 8;
        if (join_size < 126) {
            head[1] = 0x80 | (unsigned char)join_size;
            head[2] = head[3] = 0;
            head_size = 6;
        }
        static unsigned char frame[(1 << 16) + 8];
        memcpy(frame, head, head_size);
        memcpy(frame + head_size, join, join_size);
        put(c, frame, head_size + join_size);
    }
    c->state = JOINING;
    if (!*word) has_joined(c);
}

static void readable(struct client *c) {
    if (c->rest_size) memcpy(buffer, c->rest, c->rest_size);
    ssize_t got = recv(c->fd, buffer + c->rest_size, BUFFER - c->rest_size, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        lose(c);
        return;
    }
    int64_t at_us = now_us();
    size_t size = c->rest_size + (size_t)got, used = 0;
    bytes_in += got;
    reads++;
    if (c->state == UPGRADING) {
        char *end = memmem(buffer, size, "\r\n\r\n", 4);
        if (end) {
            if (memcmp(buffer, "HTTP/1.1 101", 12)) {
                fprintf(stderr, "client: the server answered: %.60s\n", (char *)buffer);
                lose(c);
                return;
            }
            *end = 0;
            c->shares = !!strcasestr((char *)buffer, "server_no_context_takeover");
            used = (size_t)((unsigned char *)end - buffer) + 4;
            join_now(c);
        }
    }
    if (c->state >= JOINING) used += take_frames(c, buffer + used, size - used, at_us);
    size_t left = size - used;
    if (left > c->rest_size || !left) {
        free(c->rest);
        c->rest = left ? malloc(left) : NULL;
    }
    if (left) memcpy(c->rest, buffer + used, left);
    c->rest_size = left;
}

static void writable(struct client *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        errno = error;
        die("connect");
    }
    put(c, request, request_size);
    c->state = UPGRADING;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t share(double part) {
    if (!sample_count) return 0;
    size_t at = (size_t)(part * (double)sample_count);
    return samples[at < sample_count ? at : sample_count - 1];
}

static void command(void) {
    static char line[256];
    ssize_t got = read(0, line, sizeof line - 1);
    if (got <= 0) exit(0);
    line[got] = 0;
    if (strstr(line, "latency")) {
        qsort(samples, sample_count, sizeof *samples, by_size);
        printf("{\"samples\": %zu, \"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u, "
               "\"max_us\": %u}\n",
               sample_count, share(0.5), share(0.99), share(0.999), share(1.0));
        sample_count = 0;
    } else {
        printf("{\"joined\": %d, \"gone\": %d, \"last_close\": %d, \"frames\": %lld, "
               "\"compressed\": %lld, \"messages\": %lld, \"bytes\": %lld, \"reads\": %lld}\n",
               joined, gone, last_close, frames, compressed, messages, bytes_in, reads);
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    const char *path = "/", *subprotocol = "", *join_file = "";
    int option, deflate = 0;
    in_flight = 64;
    while ((option = getopt(argc, argv, "p:n:u:s:zj:w:k:t:q:")) != -1) {
        if (option == 'p') port = atoi(optarg);
        else if (option == 'n') count = atoi(optarg);
        else if (option == 'u') path = optarg;
        else if (option == 's') subprotocol = optarg;
        else if (option == 'z') deflate = 1;
        else if (option == 'j') join_file = optarg;
        else if (option == 'w') word = optarg;
        else if (option == 't') snprintf(type_head, sizeof type_head, "{\"type\":\"%s\"", optarg);
        else if (option == 'q') pause_us = atoi(optarg);
        else if (option == 'k') in_flight = atoi(optarg);
        else return 2;
    }
    if (*join_file) {
        FILE *file = fopen(join_file, "r");
        if (!file) die(join_file);
        join_size = fread(join, 1, sizeof join - 1, file);
        fclose(file);
    }
    request_size = (size_t)snprintf(
        request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s%s%s%s\r\n",
        path, *subprotocol ? "Sec-WebSocket-Protocol: " : "", subprotocol,
        *subprotocol ? "\r\n" : "",
        deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    stride = count > 20 ? count / 20 : 1;
    clients = calloc((size_t)count, sizeof *clients);
    buffer = malloc(BUFFER);
    samples = malloc(SAMPLES * sizeof *samples);
    epoll_fd = epoll_create1(0);
    if (!clients || !buffer || !samples || epoll_fd < 0) die("start");
    static struct epoll_event events[1 << 14];
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input)) die("standard input");
    progress();
    for (;;) {
        if (pause_us && has_spoken) usleep((useconds_t)pause_us);
        int ready = epoll_wait(epoll_fd, events, 1 << 14, pause_us && has_spoken ? 0 : -1);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct client *c = events[i].data.ptr;
            if (!c) command();
            else if (c->state == CONNECTING) writable(c);
            else if (c->state != GONE) readable(c);
        }
    }
}
