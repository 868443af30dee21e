/* The rate is the mean since the start: the time left then does not jump about. */
#include "progress.h"

#include <unistd.h>

#define NS_PER_S 1000000000u
#define BAR_CELLS 30
#define BAR_PERIOD_NS (NS_PER_S / 10)
#define LINE_PERIOD_NS (10ull * NS_PER_S)

void progress_init(struct progress *progress, FILE *stream, enum progress_style style,
                   const char *unit, uint64_t total, uint64_t now_ns)
{
    if (style == PROGRESS_AUTO) {
        style = isatty(fileno(stream)) ? PROGRESS_BAR : PROGRESS_LINES;
    }
    *progress = (struct progress){.stream = stream,
                                  .style = style,
                                  .unit = unit,
                                  .total = total,
                                  .start_ns = now_ns,
                                  .shown_ns = now_ns};
}

bool progress_due(const struct progress *progress, uint64_t now_ns)
{
    uint64_t period = progress->style == PROGRESS_BAR ? BAR_PERIOD_NS : LINE_PERIOD_NS;
    return progress->style != PROGRESS_NONE && now_ns - progress->shown_ns >= period;
}

static int format_rate(double rate, const char *unit, char *text, size_t size)
{
    static const char *const prefixes[] = {"", "k ", "M ", "G ", "T "};
    size_t prefix = 0;
    while (rate >= 999.5 && prefix < 4) {
        rate /= 1000;
        prefix++;
    }
    return snprintf(text, size, "%.3g %s%s/s", rate, prefixes[prefix], unit);
}

static int format_time(double seconds, char *text, size_t size)
{
    if (!(seconds < 1e6)) {
        return snprintf(text, size, "?");
    }
    unsigned whole = (unsigned)(seconds + 0.5);
    if (whole < 3600) {
        return snprintf(text, size, "%u:%02u", whole / 60, whole % 60);
    }
    return snprintf(text, size, "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
}

void progress_format(const struct progress *progress, uint64_t done, uint64_t now_ns, char *text,
                     size_t size)
{
    double elapsed = (double)(now_ns - progress->start_ns) / NS_PER_S;
    double rate = elapsed > 0 ? (double)done / elapsed : 0;
    double percent = progress->total ? 100.0 * (double)done / (double)progress->total : 100.0;
    bool over = done >= progress->total;
    char rate_text[64], time_text[32];
    format_rate(rate, progress->unit, rate_text, sizeof rate_text);
    format_time(over ? elapsed : (double)(progress->total - done) / rate, time_text,
                sizeof time_text);
    snprintf(text, size, "%3d %%  %s  %s%s%s", (int)percent, rate_text, over ? "in " : "",
             time_text, over ? "" : " left");
}

static void draw_bar(const struct progress *progress, uint64_t done, const char *text)
{
    char cells[BAR_CELLS + 1];
    double share = progress->total ? (double)done / (double)progress->total : 1.0;
    for (int i = 0; i < BAR_CELLS; i++) {
        cells[i] = i < (int)(share * BAR_CELLS) ? '#' : '.';
    }
    cells[BAR_CELLS] = '\0';
    fprintf(progress->stream, "\r[%s] %s\x1b[K", cells, text);
}

void progress_show(struct progress *progress, uint64_t done, uint64_t now_ns)
{
    if (progress->style == PROGRESS_NONE) {
        return;
    }
    char text[128];
    progress_format(progress, done, now_ns, text, sizeof text);
    if (progress->style == PROGRESS_BAR) {
        draw_bar(progress, done, text);
    } else {
        fprintf(progress->stream, "%s\n", text);
    }
    fflush(progress->stream);
    progress->shown_ns = now_ns;
}

void progress_finish(struct progress *progress, uint64_t done, uint64_t now_ns)
{
    progress_show(progress, done, now_ns);
    if (progress->style == PROGRESS_BAR) {
        fputc('\n', progress->stream);
        fflush(progress->stream);
    }
}
