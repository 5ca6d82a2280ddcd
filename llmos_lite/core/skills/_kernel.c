/* The search of `matches.py` in a few calls, where numpy needs a hundred; both give the same.
 *
 * It reads the arrays of `segment.py` where they lie, by the buffer protocol. Whatever stands in them is checked before
 * it is used as a place: wrong arrays end in a ValueError, and nothing outside of them is ever read or written.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BIT = 0x80, PAIR_BITS = 24, PRINT_WIDTH = 32, LEVEL_BITS = 17 }; /* as in segment.py and commonness.py */
enum { SPARE = 8, WIDER = 8, LONGEST_WORD = 40 };                              /* as in matches.py and text.py */
enum { WORD_BITS = 14 };
static const double SAME = 0.85, NOTHING = 1e-3;                               /* as in index.py and matches.py */
static const char PIECE[] = "piece", RULES[] = "rules", QUERY[] = "query", WORDS[] = "words"; /* what capsules hold */

typedef Py_ssize_t Size;

static int wrong(void) {
    PyErr_SetString(PyExc_ValueError, "arrays that do not belong together");
    return 0;
}

static void append(PyObject *list, PyObject *item) {
    if (item) PyList_Append(list, item);
    Py_XDECREF(item);
}

/* Asks for memory that is wanted soon: the places of a query's words and pairs lie all over an index, and one wait for
 * all of them is shorter than one for each. */
static void fetch(const void *place) {
#ifdef __GNUC__
    __builtin_prefetch(place);
#endif
}

static PyObject *whole(PyObject *list) { /* without an error */
    if (PyErr_Occurred()) Py_CLEAR(list);
    return list;
}

/* The pieces of an index */

enum { TERMS, STARTS, DOCS, WEIGHTS, BUCKETS, PAIR_LOW, PAIR_DOCS, ALIVE, PRINTS, FREQUENCY, ARRAYS }; /* `arrays` */

typedef struct {
    Py_buffer views[ARRAYS];
    PyObject *keys;
    const uint32_t *terms;
    const int32_t *starts, *buckets, *frequency; /* no frequency where all documents count */
    const uint16_t *docs, *pair_docs;
    const uint8_t *weights, *alive, *low, *prints;
    Size documents, count, term_count, postings, pairs; /* `count`: how many documents count */
    int bits, wide;                                     /* of a pair's hash that name a bucket; bytes of the others */
} Piece;

static int are_below(const uint16_t *docs, Size count, Size end) {
    uint16_t most = 0;
    for (Size at = 0; at < count; at++) most = docs[at] > most ? docs[at] : most;
    return !count || most < end;
}

static int open_piece(Piece *piece) {
    Py_buffer *view = piece->views;
    piece->terms = view[TERMS].buf, piece->starts = view[STARTS].buf, piece->docs = view[DOCS].buf;
    piece->weights = view[WEIGHTS].buf, piece->buckets = view[BUCKETS].buf, piece->low = view[PAIR_LOW].buf;
    piece->pair_docs = view[PAIR_DOCS].buf, piece->alive = view[ALIVE].buf, piece->prints = view[PRINTS].buf;
    piece->frequency = view[FREQUENCY].buf;
    piece->documents = view[ALIVE].len, piece->postings = view[WEIGHTS].len;
    piece->term_count = view[TERMS].len / 4, piece->pairs = view[PAIR_DOCS].len / 2;
    piece->wide = view[PAIR_LOW].len > piece->pairs ? 2 : 1;
    while (piece->bits < PAIR_BITS && view[BUCKETS].len > (((Size)1 << piece->bits) + 1) * 4) piece->bits++;
    return are_below(piece->docs, view[DOCS].len / 2, piece->documents)
        && are_below(piece->pair_docs, piece->pairs, piece->documents)
        && view[STARTS].len == (piece->term_count + 1) * 4 && view[DOCS].len == piece->postings * 2
        && view[BUCKETS].len == (((Size)1 << piece->bits) + 1) * 4 && view[PAIR_LOW].len == piece->pairs * piece->wide
        && view[PRINTS].len == piece->documents * PRINT_WIDTH && PyTuple_Size(piece->keys) == piece->documents
        && (!piece->frequency || view[FREQUENCY].len == piece->term_count * 4);
}

static void close_piece(Piece *piece) {
    for (int i = 0; i < ARRAYS; i++) PyBuffer_Release(&piece->views[i]);
    Py_XDECREF(piece->keys);
    PyMem_Free(piece);
}

static void close_piece_of(PyObject *capsule) { close_piece(PyCapsule_GetPointer(capsule, PIECE)); }

static PyObject *piece(PyObject *module, PyObject *args) {
    PyObject *keys, *made = NULL;
    Piece *piece = PyMem_Calloc(1, sizeof(Piece));
    if (!piece) return PyErr_NoMemory();
    Py_buffer *view = piece->views;
    if (PyArg_ParseTuple(args, "(y*y*y*y*y*y*y*y*y*z*)O!n", view, view + 1, view + 2, view + 3, view + 4, view + 5,
                         view + 6, view + 7, view + 8, view + 9, &PyTuple_Type, &keys, &piece->count)) {
        piece->keys = Py_NewRef(keys);
        made = open_piece(piece) || wrong() ? PyCapsule_New(piece, PIECE, close_piece_of) : NULL;
    }
    if (!made) close_piece(piece);
    return made;
}

/* What the search knows beside the pieces */
typedef struct {
    Py_buffer levels, shares; /* of common words; see commonness.py */
    double step, pair_weight, prior_documents, prior_matches, background;
    double steps[256]; /* of each weight, as a number: to look it up is quicker than to make it */
    Size most;         /* terms of a query that count */
} Rules;

static void close_rules(Rules *rules) {
    PyBuffer_Release(&rules->levels), PyBuffer_Release(&rules->shares);
    PyMem_Free(rules);
}

static void close_rules_of(PyObject *capsule) { close_rules(PyCapsule_GetPointer(capsule, RULES)); }

static PyObject *rules(PyObject *module, PyObject *args) {
    PyObject *made = NULL;
    Rules *rules = PyMem_Calloc(1, sizeof(Rules));
    if (!rules) return PyErr_NoMemory();
    for (int weight = 0; weight < 256; weight++) rules->steps[weight] = weight & (HEADER_BIT - 1);
    if (PyArg_ParseTuple(args, "y*y*dddddn", &rules->levels, &rules->shares, &rules->step, &rules->pair_weight,
                         &rules->prior_documents, &rules->prior_matches, &rules->background, &rules->most))
        made = rules->levels.len == 1 << LEVEL_BITS || wrong() ? PyCapsule_New(rules, RULES, close_rules_of) : NULL;
    if (!made) close_rules(rules);
    return made;
}

/* Numbers keys in the order in which they first come: an open table of more than twice the size. */
typedef struct {
    uint64_t *keys;
    uint32_t *slots, count;
    size_t mask;
} Numbers;

static int open_numbers(Numbers *known, Size most) {
    for (known->mask = 15; known->mask < 2 * (size_t)most;) known->mask = 2 * known->mask + 1;
    known->keys = PyMem_Calloc(most, sizeof(uint64_t));
    known->slots = PyMem_Calloc(known->mask + 1, sizeof(uint32_t));
    return known->keys && known->slots;
}

static uint32_t number_of(Numbers *known, uint64_t key) {
    size_t at = (size_t)(key * 0x9E3779B97F4A7C15u >> 32) & known->mask;
    while (known->slots[at] && known->keys[known->slots[at] - 1] != key) at = (at + 1) & known->mask;
    if (!known->slots[at]) {
        known->keys[known->count] = key;
        known->slots[at] = ++known->count;
    }
    return known->slots[at] - 1;
}

/* A query */
typedef struct { int32_t begin, end; } Span;
typedef struct { uint32_t term; int64_t documents; double idf; } Word; /* `documents`: in how many it stands */
typedef struct { const Piece *piece; Size first; } Part;               /* `first`: number of its first document */

typedef struct {
    PyObject *capsules, *bytes; /* of the pieces; that hold the scores */
    Part *parts;
    Size part_count, documents, total, length, used;
    Numbers terms, pairs;
    uint32_t *order; /* the query as numbers of its terms */
    uint32_t *hashes; /* of its pairs */
    Span *spans;     /* part by part, where the postings of each term lie; empty for one that is not there */
    Word *words;     /* the different terms; of many the rarest `used` ones come first */
    double *scores, mass;
    int is_broken;
} Query;

static void close_query(Query *query) {
    void *blocks[] = {query->terms.keys, query->terms.slots, query->pairs.keys, query->pairs.slots,
                      query->order,      query->spans,       query->words,      query->parts,
                      query->hashes};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++) PyMem_Free(blocks[i]);
    Py_XDECREF(query->capsules), Py_XDECREF(query->bytes);
    PyMem_Free(query);
}

static void close_query_of(PyObject *capsule) { close_query(PyCapsule_GetPointer(capsule, QUERY)); }

static int open_parts(Query *query, PyObject *pieces) {
    query->capsules = Py_NewRef(pieces);
    for (Size p = 0; p < query->part_count; p++) {
        const Piece *piece = PyCapsule_GetPointer(PyTuple_GetItem(pieces, p), PIECE);
        if (!piece) return 0;
        query->parts[p] = (Part){piece, query->documents};
        query->documents += piece->documents;
        query->total += piece->count;
    }
    return 1;
}

/* Whoever asked for the scores may have changed how many they are. */
static int has_scores(Query *query) {
    query->scores = (double *)PyByteArray_AsString(query->bytes);
    return PyByteArray_Size(query->bytes) == query->documents * 8 || wrong();
}

static int open_scores(Query *query) {
    query->bytes = PyByteArray_FromStringAndSize(NULL, query->documents * 8);
    return query->bytes && has_scores(query) && memset(query->scores, 0, query->documents * 8);
}

static int open_query(Query *query, PyObject *pieces, PyObject *hashes) {
    Size length = query->length = PyList_Size(hashes), count = query->part_count = PyTuple_Size(pieces);
    query->parts = PyMem_Calloc(count, sizeof(Part));
    query->order = PyMem_Calloc(length, sizeof(uint32_t));
    query->hashes = PyMem_Calloc(length, sizeof(uint32_t));
    query->words = PyMem_Calloc(length, sizeof(Word));
    query->spans = PyMem_Calloc(length * count, sizeof(Span));
    if (!query->parts || !query->order || !query->hashes || !query->words || !query->spans || !open_numbers(&query->terms, length)
        || !open_numbers(&query->pairs, length))
        return PyErr_NoMemory() != NULL;
    if (!open_parts(query, pieces) || !open_scores(query)) return 0;
    for (Size at = 0; at < length; at++)
        query->order[at] = number_of(&query->terms, (uint32_t)PyLong_AsUnsignedLongMask(PyList_GetItem(hashes, at)));
    return !PyErr_Occurred();
}

static Span *span_of(const Query *query, Size part, uint32_t term) {
    return &query->spans[part * query->terms.count + term];
}

/* Finds where the postings of a term lie in a piece, and counts in how many documents it stands. */
static void find(Query *query, Size number, uint32_t t) {
    const Piece *piece = query->parts[number].piece;
    uint32_t term = (uint32_t)query->terms.keys[t];
    const uint32_t *here = piece->terms;
    for (Size left = piece->term_count, half; left > 1; left -= half) {
        half = left / 2;
        here += here[half - 1] < term ? half : 0;
    }
    if (!piece->term_count || *here != term) return;
    Span span = {piece->starts[here - piece->terms], piece->starts[here - piece->terms + 1]};
    if (span.begin < 0 || span.begin > span.end || span.end > piece->postings) { query->is_broken = 1; return; }
    fetch(piece->docs + span.begin), fetch(piece->weights + span.begin);
    *span_of(query, number, t) = span;
    query->words[t].documents += piece->frequency ? piece->frequency[here - piece->terms] : span.end - span.begin;
}

static int by_rarity(const void *one, const void *other) { /* those that stand nowhere come last */
    const Word *a = one, *b = other;
    uint64_t first = (uint64_t)a->documents - 1, second = (uint64_t)b->documents - 1;
    return first != second ? (first < second ? -1 : 1) : a->term < b->term ? -1 : a->term > b->term;
}

static void weigh(Query *query, const Rules *rules) {
    const uint8_t *levels = rules->levels.buf;
    const double *shares = rules->shares.buf;
    for (uint32_t t = 0; t < query->terms.count; t++) {
        Word *word = &query->words[t];
        uint8_t level = levels[query->terms.keys[t] >> (32 - LEVEL_BITS)];
        word->term = t;
        for (Size p = 0; p < query->part_count; p++) find(query, p, t);
        if (level < rules->shares.len / 8)
            word->idf = log((query->total + rules->background + 1) / (word->documents + shares[level] + 0.5));
        else
            query->is_broken = 1;
    }
    query->used = query->terms.count;
    if (query->used > rules->most) {
        qsort(query->words, query->used, sizeof(Word), by_rarity);
        query->used = rules->most;
    }
    for (Size w = 0; w < query->used; w++) query->mass += query->words[w].idf;
}

static void add_terms(Query *query, const Rules *rules, Size number) {
    const Piece *piece = query->parts[number].piece;
    double *scores = query->scores + query->parts[number].first;
    for (Size w = 0; w < query->used; w++) {
        Span span = *span_of(query, number, query->words[w].term);
        Size count = span.end - span.begin;
        const uint16_t *docs = piece->docs + span.begin;
        const uint8_t *weights = piece->weights + span.begin;
        double gain = query->words[w].idf * rules->step;
        for (Size at = 0; at < count; at++) scores[docs[at]] += rules->steps[weights[at]] * gain;
    }
    for (Size doc = 0; piece->count != piece->documents && doc < piece->documents; doc++)
        if (!piece->alive[doc]) scores[doc] = 0;
}

static const int32_t *bucket_of(const Piece *piece, uint32_t hash) {
    return piece->buckets + (hash >> (PAIR_BITS - piece->bits));
}

/* Gives points to the documents of a piece that hold a pair, if they have any yet; returns how many hold it. */
static Size add_pair_in(Query *query, Part part, uint32_t hash, double points) {
    const Piece *piece = part.piece;
    uint32_t low = hash & ((1u << (PAIR_BITS - piece->bits)) - 1);
    const int32_t *bucket = bucket_of(piece, hash);
    double *scores = query->scores + part.first;
    Size found = 0;
    if (bucket[0] < 0 || bucket[1] > piece->pairs) { query->is_broken = 1; return 0; }
    for (int32_t at = bucket[0]; at < bucket[1]; at++) {
        uint16_t doc = piece->pair_docs[at];
        if ((piece->wide == 2 ? ((const uint16_t *)piece->low)[at] : piece->low[at]) != low) continue;
        found += piece->alive[doc];
        if (scores[doc] > 0) scores[doc] += points;
    }
    return found;
}

static uint32_t hash_of(const Query *query, uint64_t pair) { /* as `pair_hashes` */
    uint32_t one = (uint32_t)query->terms.keys[pair >> 32], other = (uint32_t)query->terms.keys[(uint32_t)pair];
    uint32_t mixed = (one * 0x9E3779B1u) ^ (other * 0x85EBCA77u + 0xC2B2AE3Du);
    return ((mixed ^ (mixed >> 15)) * 0x2C1B3C6Du) >> (32 - PAIR_BITS);
}

static int may_hold(const Query *query, Size part, uint64_t pair) {
    return span_of(query, part, pair >> 32)->end && span_of(query, part, (uint32_t)pair)->end;
}

static Size add_pair(Query *query, uint32_t at, double points) {
    Size found = 0;
    for (Size p = 0; p < query->part_count; p++)
        if (may_hold(query, p, query->pairs.keys[at]))
            found += add_pair_in(query, query->parts[p], query->hashes[at], points);
    return found;
}

/* Finds the pairs of a query; the memory that tells where they stand is on its way then. */
static void find_pairs(Query *query) {
    for (Size at = 1; at < query->length; at++)
        number_of(&query->pairs, (uint64_t)query->order[at - 1] << 32 | query->order[at]);
    for (uint32_t at = 0; at < query->pairs.count; at++) {
        query->hashes[at] = hash_of(query, query->pairs.keys[at]);
        for (Size p = 0; p < query->part_count; p++)
            if (may_hold(query, p, query->pairs.keys[at])) fetch(bucket_of(query->parts[p].piece, query->hashes[at]));
    }
}

static void fetch_pairs(const Query *query) {
    for (uint32_t at = 0; at < query->pairs.count; at++)
        for (Size p = 0; p < query->part_count; p++) {
            const Piece *piece = query->parts[p].piece;
            if (!may_hold(query, p, query->pairs.keys[at])) continue;
            int32_t begin = *bucket_of(piece, query->hashes[at]);
            if (begin < 0 || begin >= piece->pairs) continue;
            fetch(piece->pair_docs + begin), fetch(piece->low + (Size)begin * piece->wide);
        }
}

static void add_pairs(Query *query, const Rules *rules) {
    for (uint32_t at = 0; at < query->pairs.count; at++) {
        Size found = add_pair(query, at, 0);
        if (!found) continue;
        double rarity = log((query->total + rules->prior_documents + 1) / (found + rules->prior_matches + 0.5));
        add_pair(query, at, rules->pair_weight * rarity);
    }
}

static PyObject *match(PyObject *module, PyObject *args) {
    PyObject *capsule, *pieces, *hashes, *found = NULL;
    if (!PyArg_ParseTuple(args, "OO!O!", &capsule, &PyTuple_Type, &pieces, &PyList_Type, &hashes)) return NULL;
    const Rules *rules = PyCapsule_GetPointer(capsule, RULES);
    if (!rules) return NULL;
    Query *query = PyMem_Calloc(1, sizeof(Query));
    if (!query) return PyErr_NoMemory();
    if (open_query(query, pieces, hashes)) {
        weigh(query, rules);
        find_pairs(query);
        for (Size p = 0; p < query->part_count; p++) add_terms(query, rules, p);
        fetch_pairs(query);
        add_pairs(query, rules);
        found = !query->is_broken || wrong() ? PyCapsule_New(query, QUERY, close_query_of) : NULL;
    }
    if (!found) close_query(query);
    return found;
}

static PyObject *scores(PyObject *module, PyObject *capsule) {
    Query *query = PyCapsule_GetPointer(capsule, QUERY);
    return query ? Py_NewRef(query->bytes) : NULL;
}

/* Returns (hash, idf, number of documents) of each term that counts. */
static PyObject *terms(PyObject *module, PyObject *capsule) {
    Query *query = PyCapsule_GetPointer(capsule, QUERY);
    PyObject *found = query ? PyList_New(0) : NULL;
    for (Size w = 0; found && w < query->used && !PyErr_Occurred(); w++) {
        Word word = query->words[w];
        append(found, Py_BuildValue("Kdn", query->terms.keys[word.term], word.idf, (Size)word.documents));
    }
    return whole(found);
}

typedef struct { double score; Size part, doc; } Found; /* `doc`: its number in the part */

static int weight_in(const Piece *piece, Span span, Size doc) {
    const uint16_t *here = piece->docs + span.begin;
    for (uint32_t left = span.end - span.begin, half; left > 1; left -= half) {
        half = left / 2;
        here += here[half - 1] < doc ? half : 0;
    }
    return span.begin < span.end && *here == doc ? piece->weights[here - piece->docs] : 0;
}

static int is_there(const Query *query, Size part, Size doc) {
    return part >= 0 && part < query->part_count && doc >= 0 && doc < query->parts[part].piece->documents;
}

/* Returns the share of the idf mass that a document holds, the one that its header holds, and how many terms it has. */
static PyObject *held(PyObject *module, PyObject *args) {
    PyObject *capsule;
    Size part, doc;
    double idf = 0, header = 0;
    int terms = 0;
    if (!PyArg_ParseTuple(args, "Onn", &capsule, &part, &doc)) return NULL;
    Query *query = PyCapsule_GetPointer(capsule, QUERY);
    if (!query || (!is_there(query, part, doc) && !wrong())) return NULL;
    for (Size w = 0; w < query->used; w++) {
        Span span = *span_of(query, part, query->words[w].term);
        int weight = weight_in(query->parts[part].piece, span, doc);
        idf += weight ? query->words[w].idf : 0;
        header += weight & HEADER_BIT ? query->words[w].idf : 0;
        terms += weight != 0;
    }
    return Py_BuildValue("ddi", idf / query->mass, header / query->mass, terms);
}

/* A heap with the worst of the best on top */
static int is_worse(Found one, Found other) {
    return one.score != other.score ? one.score < other.score : one.doc > other.doc;
}

static void sink(Found *heap, Size count, Found one) {
    Size at = 0, child;
    while ((child = 2 * at + 1) < count) {
        if (child + 1 < count && is_worse(heap[child + 1], heap[child])) child++;
        if (!is_worse(heap[child], one)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = one;
}

/* Puts the best first. */
static void fill(Found *heap, Size width, const double *scores, Size count) {
    for (Size doc = 0; width && doc < count; doc++)
        if (scores[doc] > heap->score) sink(heap, width, (Found){scores[doc], 0, doc});
    for (Size last = width - 1; last > 0; last--) {
        Found worst = *heap;
        sink(heap, last, heap[last]);
        heap[last] = worst;
    }
}

/* Fills a heap, which is empty and has room for one more, with the best, best first; returns how many have points. */
static Size best(const Query *query, Found *heap, Size width) {
    Size count = 0;
    fill(heap, width, query->scores, query->documents);
    double least = heap->score / 2;
    while (least > NOTHING && isfinite(least)) least /= 2;
    for (; count < width && heap[count].score > 0 && heap[count].score >= least; count++) {
        Size part = query->part_count - 1;
        while (part > 0 && heap[count].doc < query->parts[part].first) part--;
        heap[count].part = part, heap[count].doc -= query->parts[part].first;
    }
    return count;
}

static int repeats(const uint8_t *one, const uint8_t *other) {
    int same = 0, is_empty = 1;
    for (int at = 0; at < PRINT_WIDTH; at++) {
        same += one[at] == other[at];
        is_empty &= !one[at];
    }
    return same >= SAME * PRINT_WIDTH && !is_empty;
}

static const uint8_t *print_of(const Query *query, Found one) {
    return query->parts[one.part].piece->prints + one.doc * PRINT_WIDTH;
}

static int repeats_any(const Query *query, Found one, const Found *others, Size count) {
    while (count > 0 && !repeats(print_of(query, one), print_of(query, others[count - 1]))) count--;
    return count > 0;
}

/* What is wanted; see `Wanted` in matches.py */
typedef struct {
    Size limit, sure;
    double share;
    int collapse;
    PyObject *hidden;
} Wanted;

static int is_hidden(const Query *query, PyObject *hidden, Found one) { /* -1 for an error */
    if (hidden == Py_None) return 0;
    PyObject *keys = PyTuple_GetItem(hidden, one.part);
    return keys ? PySequence_Contains(keys, PyTuple_GetItem(query->parts[one.part].piece->keys, one.doc)) : -1;
}

/* Moves those that are wanted to the front, and tells whether more candidates could add none; -1 for an error. */
static int sift(const Query *query, const Wanted *wanted, Found *found, Size count, Size *kept) {
    double least = 0;
    *kept = 0;
    for (Size at = 0; at < count; at++) {
        if (*kept >= wanted->limit || (*kept >= wanted->sure && found[at].score < least)) return 1;
        int hides = is_hidden(query, wanted->hidden, found[at]);
        if (hides < 0) return -1;
        if (hides || (wanted->collapse && repeats_any(query, found[at], found, *kept))) continue;
        found[(*kept)++] = found[at];
        if (!least) least = found[at].score * wanted->share;
    }
    return *kept >= wanted->limit;
}

/* Widens the choice until enough are left or nothing is. */
static PyObject *chosen(Query *query, const Wanted *wanted) {
    Size kept = 0, limit = wanted->limit < query->documents ? wanted->limit : query->documents;
    int is_enough = 0;
    PyObject *list = NULL;
    Found *found = NULL;
    for (Size width = limit + SPARE; !is_enough; width *= WIDER) {
        Size most = width < query->documents ? width : query->documents;
        PyMem_Free(found);
        found = PyMem_Calloc(most + 1, sizeof(Found));
        if (!found) return PyErr_NoMemory();
        Size count = has_scores(query) ? best(query, found, most) : 0;
        is_enough = PyErr_Occurred() ? -1 : sift(query, wanted, found, count, &kept);
        if (count < width) break;
    }
    if (is_enough >= 0) list = PyList_New(0);
    for (Size at = 0; list && at < kept && !PyErr_Occurred(); at++) append(list, Py_BuildValue("dnn", found[at].score, found[at].part, found[at].doc));
    PyMem_Free(found);
    return whole(list);
}

static PyObject *top(PyObject *module, PyObject *args) {
    PyObject *capsule;
    Wanted wanted;
    if (!PyArg_ParseTuple(args, "OnOpdn", &capsule, &wanted.limit, &wanted.hidden, &wanted.collapse, &wanted.share,
                          &wanted.sure))
        return NULL;
    Query *query = PyCapsule_GetPointer(capsule, QUERY);
    wanted.limit = wanted.limit > 0 ? wanted.limit : 0;
    return query ? chosen(query, &wanted) : NULL;
}

/* Words whose hashes are known: of those that share two slots, the last two, the last one first */
typedef struct { char letters[LONGEST_WORD]; int width; uint32_t hash; } Known;

static void close_words_of(PyObject *capsule) { PyMem_Free(PyCapsule_GetPointer(capsule, WORDS)); }

static PyObject *words(PyObject *module, PyObject *none) {
    Known *known = PyMem_Calloc((size_t)1 << WORD_BITS, sizeof(Known));
    PyObject *made = known ? PyCapsule_New(known, WORDS, close_words_of) : PyErr_NoMemory();
    if (!made) PyMem_Free(known);
    return made;
}

static uint8_t folded(uint8_t letter) { /* 0 for what stands between words */
    uint8_t lower = letter | 0x20;
    return lower >= 'a' && lower <= 'z' ? lower : letter >= '0' && letter <= '9' ? letter : 0;
}

/* Reads a word; returns its length, or one more than the longest, 0 at the end, -1 for what `words` of text.py tells. */
static int next_word(const uint8_t **here, const uint8_t *end, char *word) {
    int width = 0;
    for (uint8_t before = 0; *here < end; before = *(*here)++) {
        uint8_t letter = **here, lower = folded(letter);
        if (letter > 0x7f || (lower > letter && before >= 'a' && before <= 'z')) return -1;
        if (!lower && width) return width;
        if (lower && width <= LONGEST_WORD) word[width++] = (char)lower;
    }
    return width;
}

static int is_word(const Known *known, const char *word, int width) {
    return known->width == width && !memcmp(known->letters, word, width);
}

static Known *slot_of(Known *table, const char *word, int width) {
    uint32_t mixed = 0x811C9DC5u; /* FNV-1a */
    for (int at = 0; at < width; at++) mixed = (mixed ^ (uint8_t)word[at]) * 0x01000193u;
    Known *slots = &table[(mixed * 0x9E3779B1u >> (32 - WORD_BITS)) & ~1u], first = *slots;
    if (!is_word(slots, word, width)) slots[0] = slots[1], slots[1] = first;
    return slots;
}

static int learn(Known *known, const char *word, int width, PyObject *hash_of) {
    PyObject *answer = PyObject_CallFunction(hash_of, "s#", word, (Size)width);
    uint32_t hash = answer ? (uint32_t)PyLong_AsUnsignedLongMask(answer) : 0;
    Py_XDECREF(answer);
    if (PyErr_Occurred()) return 0;
    memcpy(known->letters, word, width);
    known->width = width, known->hash = hash;
    return 1;
}

static PyObject *hashes(PyObject *module, PyObject *args) {
    PyObject *capsule, *text, *hash_of;
    if (!PyArg_ParseTuple(args, "OO!O", &capsule, &PyUnicode_Type, &text, &hash_of)) return NULL;
    Known *table = PyCapsule_GetPointer(capsule, WORDS);
    Size length = 0;
    const uint8_t *here = table ? (const uint8_t *)PyUnicode_AsUTF8AndSize(text, &length) : NULL, *end = here + length;
    PyObject *found = here ? PyList_New(0) : NULL;
    char word[LONGEST_WORD + 1];
    for (int width; found && !PyErr_Occurred() && (width = next_word(&here, end, word)) != 0;) {
        if (width < 0) return Py_DECREF(found), Py_NewRef(Py_None);
        if (width > LONGEST_WORD) continue;
        Known *known = slot_of(table, word, width);
        if ((is_word(known, word, width) || learn(known, word, width, hash_of)) && known->hash)
            append(found, PyLong_FromUnsignedLong(known->hash));
    }
    return whole(found);
}

static PyMethodDef METHODS[] = {{"piece", piece, METH_VARARGS, NULL},
                                {"rules", rules, METH_VARARGS, NULL},
                                {"match", match, METH_VARARGS, NULL},
                                {"scores", scores, METH_O, NULL},
                                {"terms", terms, METH_O, NULL},
                                {"top", top, METH_VARARGS, NULL},
                                {"held", held, METH_VARARGS, NULL},
                                {"words", words, METH_NOARGS, NULL},
                                {"hashes", hashes, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_kernel", .m_methods = METHODS};

PyMODINIT_FUNC PyInit__kernel(void) {
    PyObject *module = PyModule_Create(&MODULE);
    if (module) PyModule_AddIntConstant(module, "SOURCE", SOURCE); /* what it was made of; see `hatch_build.py` */
    if (module) PyModule_AddIntConstant(module, "FLAGS", FLAGS);
    return module;
}
