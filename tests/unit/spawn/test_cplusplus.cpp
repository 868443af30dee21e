/* A C++ program has a spawner too, and its objects are made before the take-over. */
#include <map>
#include <string>
#include <unistd.h>

extern "C" {
typedef int run_function(const void *bytes, size_t size, int reply_fd);
void spawn_set_isolated(run_function *run);
int run_and_expect(const char *expected); /* cplusplus_side.c: room headers are C */
}

static std::map<std::string, std::string> registry{{"greeting", "made before main"}};

static int greet(const void *, size_t, int fd)
{
    const std::string &text = registry.at("greeting");
    return write(fd, text.data(), text.size()) == (ssize_t)text.size() ? 0 : 1;
}

static struct Enrolment {
    Enrolment()
    {
        spawn_set_isolated(greet);
    }
} enrolment;

int main()
{
    return run_and_expect("made before main");
}
