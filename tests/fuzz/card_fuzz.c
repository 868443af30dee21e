/*
 * Fuzz target: any bytes as the cards of a job's ranks. Judging, grouping and placing them reads
 * nothing but them, ends every text within its room, and gives places that can be.
 */
#include "base/alloc.h"
#include "fuzz.h"
#include "launch/card.h"
#include "launch/report.h"

enum { RANKS_MAX = 8 };

static void check_places(const union card_page *cards, uint32_t size)
{
    struct report_places places = report_find_places(cards, size);
    HOLDS(memchr(places.host, 0, sizeof places.host));
    HOLDS(places.ranks == size && places.nodes >= 1 && places.nodes <= size);
    for (uint32_t rank = 0; rank < size; rank++) {
        uint32_t index = size, count = 0;
        union card_page *node = cards_of_node(cards, size, rank, &index, &count);
        HOLDS(node && index < count && count <= size);
        HOLDS(memcmp(&node[index], &cards[rank], sizeof *node) == 0);
        struct place place = cards_place(node, count, index);
        HOLDS(place.cores >= 1 && place.index < place.sharers && place.sharers <= count);
        base_free(node);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint32_t ranks = 1 + fuzz_byte(&input) % RANKS_MAX, differs = 0;
    uint8_t is_like_first = fuzz_byte(&input);
    char text[256];
    union card_page *cards = malloc(ranks * sizeof *cards);
    HOLDS(cards);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        fuzz_take(&input, &cards[rank], sizeof *cards);
        if (rank && is_like_first >> rank & 1) {
            cards[rank] = cards[0];
            fuzz_take(&input, &cards[rank].card.mask, sizeof cards->card.mask);
        }
    }
    memset(text, 'x', sizeof text);
    int code = cards_check(cards, ranks, &differs, text, sizeof text);
    HOLDS(code == MANTA_OK ? differs < ranks : memchr(text, 0, sizeof text) != NULL);
    check_places(cards, ranks);
    free(cards);
    return 0;
}
