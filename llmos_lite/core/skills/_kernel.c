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
static const double SAME = 0.85, NOTHING = 1e-3;                               /* as in index.py and matches.py */
static const char QUERY[] = "query";                                           /* what a capsule holds */

typedef Py_ssize_t Size;

static int wrong(void) {
    PyErr_SetString(PyExc_ValueError, "arrays that do not belong together");
    return 0;
}

static void append(PyObject *list, PyObject *item) {
    if (item) PyList_Append(list, item);
    Py_XDECREF(item);
}

static PyObject *whole(PyObject *list) { /* without an error */
    if (PyErr_Occurred()) Py_CLEAR(list);
    return list;
}

/* The pieces of an index */

enum { TERMS, STARTS, DOCS, WEIGHTS, BUCKETS, PAIR_LOW, PAIR_DOCS, ALIVE, PRINTS, FREQUENCY, ARRAYS }; /* `arrays` */

typedef struct {
    Py_buffer views[ARRAYS];
    const uint32_t *terms;
    const int32_t *starts, *buckets, *frequency; /* no frequency where all documents count */
    const uint16_t *docs, *pair_docs;
    const uint8_t *weights, *alive, *low, *prints;
    Size first, documents, term_count, postings, pairs; /* `first`: number of its first document among all */
    int bits, wide;                                     /* of a pair's hash that name a bucket; bytes of the others */
} Piece;

static int open_piece(Piece *piece, PyObject *arrays, Size first) {
    Py_buffer *view = piece->views;
    if (!PyArg_ParseTuple(arrays, "y*y*y*y*y*y*y*y*y*z*", view, view + 1, view + 2, view + 3, view + 4, view + 5,
                          view + 6, view + 7, view + 8, view + 9))
        return 0;
    piece->terms = view[TERMS].buf, piece->starts = view[STARTS].buf, piece->docs = view[DOCS].buf;
    piece->weights = view[WEIGHTS].buf, piece->buckets = view[BUCKETS].buf, piece->low = view[PAIR_LOW].buf;
    piece->pair_docs = view[PAIR_DOCS].buf, piece->alive = view[ALIVE].buf, piece->prints = view[PRINTS].buf;
    piece->frequency = view[FREQUENCY].buf;
    piece->first = first, piece->documents = view[ALIVE].len, piece->postings = view[WEIGHTS].len;
    piece->term_count = view[TERMS].len / 4, piece->pairs = view[PAIR_DOCS].len / 2;
    piece->wide = view[PAIR_LOW].len > piece->pairs ? 2 : 1;
    while (piece->bits < PAIR_BITS && view[BUCKETS].len > (((Size)1 << piece->bits) + 1) * 4) piece->bits++;
    return view[STARTS].len == (piece->term_count + 1) * 4 && view[DOCS].len == piece->postings * 2
        && view[BUCKETS].len == (((Size)1 << piece->bits) + 1) * 4 && view[PAIR_LOW].len == piece->pairs * piece->wide
        && view[PRINTS].len == piece->documents * PRINT_WIDTH
        && (!piece->frequency || view[FREQUENCY].len == piece->term_count * 4);
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

typedef struct {
    Piece *pieces;
    Size piece_count, documents, total, length, most, used;
    Numbers terms, pairs;
    uint32_t *order; /* the query as numbers of its terms */
    Span *spans;     /* piece by piece, where the postings of each term lie; empty for one that is not there */
    Word *words;     /* the different terms; of many the rarest `used` ones come first */
    double *scores, mass, step, pair_weight, prior_documents, prior_matches, background;
    int is_broken;
} Query;

static void close_query(Query *query) {
    for (Size p = 0; query->pieces && p < query->piece_count; p++)
        for (int i = 0; i < ARRAYS; i++) PyBuffer_Release(&query->pieces[p].views[i]);
    void *blocks[] = {query->terms.keys, query->terms.slots, query->pairs.keys, query->pairs.slots,
                      query->order,      query->spans,       query->words,      query->pieces, query};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++) PyMem_Free(blocks[i]);
}

static int open_query(Query *query, PyObject *pieces, PyObject *hashes) {
    Size length = query->length = PyList_Size(hashes), count = query->piece_count = PyTuple_Size(pieces);
    query->pieces = PyMem_Calloc(count, sizeof(Piece));
    query->order = PyMem_Calloc(length, sizeof(uint32_t));
    query->words = PyMem_Calloc(length, sizeof(Word));
    query->spans = PyMem_Calloc(length * count, sizeof(Span));
    if (!query->pieces || !query->order || !query->words || !query->spans || !open_numbers(&query->terms, length)
        || !open_numbers(&query->pairs, length))
        return PyErr_NoMemory() != NULL;
    for (Size p = 0; p < count; p++) {
        if (!open_piece(&query->pieces[p], PyTuple_GetItem(pieces, p), query->documents)) return 0;
        query->documents += query->pieces[p].documents;
    }
    for (Size at = 0; at < length; at++)
        query->order[at] = number_of(&query->terms, (uint32_t)PyLong_AsUnsignedLongMask(PyList_GetItem(hashes, at)));
    return !PyErr_Occurred();
}

static Span *span_of(const Query *query, Size piece, uint32_t term) {
    return &query->spans[piece * query->terms.count + term];
}

/* Finds where the postings of a term lie in a piece, and counts in how many documents it stands. */
static void find(Query *query, Size number, uint32_t t) {
    const Piece *piece = &query->pieces[number];
    uint32_t term = (uint32_t)query->terms.keys[t];
    const uint32_t *here = piece->terms;
    for (Size left = piece->term_count, half; left > 1; left -= half) {
        half = left / 2;
        here += here[half - 1] < term ? half : 0;
    }
    if (!piece->term_count || *here != term) return;
    Span span = {piece->starts[here - piece->terms], piece->starts[here - piece->terms + 1]};
    if (span.begin < 0 || span.begin > span.end || span.end > piece->postings) { query->is_broken = 1; return; }
    *span_of(query, number, t) = span;
    query->words[t].documents += piece->frequency ? piece->frequency[here - piece->terms] : span.end - span.begin;
}

static int by_rarity(const void *one, const void *other) { /* those that stand nowhere come last */
    const Word *a = one, *b = other;
    uint64_t first = (uint64_t)a->documents - 1, second = (uint64_t)b->documents - 1;
    return first != second ? (first < second ? -1 : 1) : a->term < b->term ? -1 : a->term > b->term;
}

static void weigh(Query *query, const uint8_t *levels, const double *shares, Size share_count) {
    for (uint32_t t = 0; t < query->terms.count; t++) {
        Word *word = &query->words[t];
        uint8_t level = levels[query->terms.keys[t] >> (32 - LEVEL_BITS)];
        word->term = t;
        for (Size p = 0; p < query->piece_count; p++) find(query, p, t);
        if (level < share_count)
            word->idf = log((query->total + query->background + 1) / (word->documents + shares[level] + 0.5));
        else
            query->is_broken = 1;
    }
    query->used = query->terms.count;
    if (query->used > query->most) {
        qsort(query->words, query->used, sizeof(Word), by_rarity);
        query->used = query->most;
    }
    for (Size w = 0; w < query->used; w++) query->mass += query->words[w].idf;
}

static void add_terms(Query *query, Size number) {
    const Piece *piece = &query->pieces[number];
    double *scores = query->scores + piece->first;
    for (Size w = 0; w < query->used; w++) {
        Span span = *span_of(query, number, query->words[w].term);
        double gain = query->words[w].idf * query->step;
        for (int32_t at = span.begin; at < span.end; at++) {
            if (piece->docs[at] >= piece->documents) { query->is_broken = 1; break; }
            scores[piece->docs[at]] += (piece->weights[at] & (HEADER_BIT - 1)) * gain;
        }
    }
    for (Size doc = 0; doc < piece->documents; doc++)
        if (!piece->alive[doc]) scores[doc] = 0;
}

/* Gives points to the documents of a piece that hold a pair, if they have any yet; returns how many hold it. */
static Size add_pair_in(Query *query, const Piece *piece, uint32_t hash, double points) {
    uint32_t rest = PAIR_BITS - piece->bits, bucket = hash >> rest, low = hash & ((1u << rest) - 1);
    int32_t begin = piece->buckets[bucket], end = piece->buckets[bucket + 1];
    double *scores = query->scores + piece->first;
    Size found = 0;
    if (begin < 0 || end > piece->pairs) { query->is_broken = 1; return 0; }
    for (int32_t at = begin; at < end; at++) {
        uint16_t doc = piece->pair_docs[at];
        if ((piece->wide == 2 ? ((const uint16_t *)piece->low)[at] : piece->low[at]) != low) continue;
        if (doc >= piece->documents) { query->is_broken = 1; break; }
        found += piece->alive[doc];
        if (scores[doc] > 0) scores[doc] += points;
    }
    return found;
}

static Size add_pair(Query *query, uint64_t pair, double points) {
    uint32_t first = (uint32_t)(pair >> 32), second = (uint32_t)pair;
    uint32_t one = (uint32_t)query->terms.keys[first], other = (uint32_t)query->terms.keys[second];
    uint32_t mixed = (one * 0x9E3779B1u) ^ (other * 0x85EBCA77u + 0xC2B2AE3Du); /* as `pair_hashes` */
    uint32_t hash = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6Du) >> (32 - PAIR_BITS);
    Size found = 0;
    for (Size p = 0; p < query->piece_count; p++)
        if (span_of(query, p, first)->end && span_of(query, p, second)->end)
            found += add_pair_in(query, &query->pieces[p], hash, points);
    return found;
}

static void add_pairs(Query *query) {
    for (Size at = 1; at < query->length; at++)
        number_of(&query->pairs, (uint64_t)query->order[at - 1] << 32 | query->order[at]);
    for (uint32_t at = 0; at < query->pairs.count; at++) {
        Size found = add_pair(query, query->pairs.keys[at], 0);
        double rarity = log((query->total + query->prior_documents + 1) / (found + query->prior_matches + 0.5));
        if (found) add_pair(query, query->pairs.keys[at], query->pair_weight * rarity);
    }
}

static void close_capsule(PyObject *capsule) { close_query(PyCapsule_GetPointer(capsule, QUERY)); }

static PyObject *match(PyObject *module, PyObject *args) {
    PyObject *pieces, *hashes, *found = NULL;
    Py_buffer levels = {0}, shares = {0}, scores = {0};
    Query *query = PyMem_Calloc(1, sizeof(Query));
    if (!query) return PyErr_NoMemory();
    if (PyArg_ParseTuple(args, "O!O!nw*y*y*(dddddn)", &PyTuple_Type, &pieces, &PyList_Type, &hashes, &query->total,
                         &scores, &levels, &shares, &query->step, &query->pair_weight, &query->prior_documents,
                         &query->prior_matches, &query->background, &query->most)
        && open_query(query, pieces, hashes) && scores.len == query->documents * 8 && levels.len == 1 << LEVEL_BITS) {
        query->scores = memset(scores.buf, 0, scores.len);
        weigh(query, levels.buf, shares.buf, shares.len / 8);
        for (Size p = 0; p < query->piece_count; p++) add_terms(query, p);
        add_pairs(query);
        query->scores = NULL;
        found = query->is_broken ? NULL : PyCapsule_New(query, QUERY, close_capsule);
    }
    PyBuffer_Release(&scores), PyBuffer_Release(&levels), PyBuffer_Release(&shares);
    if (!found) close_query(query);
    if (!found && !PyErr_Occurred()) wrong();
    return found;
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

/* Documents that were found: (score, number of the piece, number in it) */
typedef struct { double score; Size piece, doc; } Found;

static int read_found(const Query *query, PyObject *list, Size at, Found *one) {
    PyObject *item = PyList_GetItem(list, at);
    if (!item || !PyArg_ParseTuple(item, "dnn", &one->score, &one->piece, &one->doc)) return 0;
    return (one->piece >= 0 && one->piece < query->piece_count && one->doc >= 0
            && one->doc < query->pieces[one->piece].documents) || wrong();
}

static int weight_in(const Piece *piece, Span span, Size doc) {
    const uint16_t *here = piece->docs + span.begin;
    for (int32_t left = span.end - span.begin, half; left > 1; left -= half) {
        half = left / 2;
        here += here[half - 1] < doc ? half : 0;
    }
    return span.begin < span.end && *here == doc ? piece->weights[here - piece->docs] : 0;
}

static PyObject *held_by(const Query *query, Found one) {
    double idf = 0, header = 0;
    int terms = 0;
    for (Size w = 0; w < query->used; w++) {
        int weight = weight_in(&query->pieces[one.piece], *span_of(query, one.piece, query->words[w].term), one.doc);
        idf += weight ? query->words[w].idf : 0;
        header += weight & HEADER_BIT ? query->words[w].idf : 0;
        terms += weight != 0;
    }
    return Py_BuildValue("ddi", idf / query->mass, header / query->mass, terms);
}

static PyObject *held(PyObject *module, PyObject *args) {
    Found one;
    PyObject *capsule, *list;
    if (!PyArg_ParseTuple(args, "OO!", &capsule, &PyList_Type, &list)) return NULL;
    Query *query = PyCapsule_GetPointer(capsule, QUERY);
    PyObject *found = query ? PyList_New(0) : NULL;
    for (Size at = 0; found && at < PyList_Size(list) && read_found(query, list, at, &one); at++)
        append(found, held_by(query, one));
    return whole(found);
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

static PyObject *best(PyObject *module, PyObject *args) {
    PyObject *capsule;
    Py_buffer scores = {0};
    Size width;
    if (!PyArg_ParseTuple(args, "Oy*n", &capsule, &scores, &width)) return NULL;
    Query *query = PyCapsule_GetPointer(capsule, QUERY);
    Size count = scores.len / 8;
    width = width < 0 ? 0 : width < count ? width : count;
    Found *heap = PyMem_Calloc(width + 1, sizeof(Found));
    PyObject *found = heap ? PyList_New(0) : PyErr_NoMemory();
    if (found && query && (count == query->documents || wrong())) {
        fill(heap, width, scores.buf, count);
        double least = heap->score / 2;
        while (least > NOTHING && isfinite(least)) least /= 2;
        for (Size at = 0; at < width && heap[at].score > 0 && heap[at].score >= least && !PyErr_Occurred(); at++) {
            Size number = query->piece_count - 1;
            while (number > 0 && heap[at].doc < query->pieces[number].first) number--;
            append(found, Py_BuildValue("dnn", heap[at].score, number, heap[at].doc - query->pieces[number].first));
        }
    }
    PyMem_Free(heap);
    PyBuffer_Release(&scores);
    return whole(found);
}

static int repeats(const uint8_t *one, const uint8_t *other) {
    int same = 0, is_empty = 1;
    for (int at = 0; at < PRINT_WIDTH; at++) {
        same += one[at] == other[at];
        is_empty &= !one[at];
    }
    return same >= SAME * PRINT_WIDTH && !is_empty;
}

static PyObject *repeats_any(PyObject *module, PyObject *args) {
    PyObject *capsule, *list, *others;
    Found mine, other;
    Size at;
    if (!PyArg_ParseTuple(args, "OO!nO!", &capsule, &PyList_Type, &list, &at, &PyList_Type, &others)) return NULL;
    Query *query = PyCapsule_GetPointer(capsule, QUERY);
    if (!query || !read_found(query, list, at, &mine)) return NULL;
    const uint8_t *print = query->pieces[mine.piece].prints + mine.doc * PRINT_WIDTH;
    for (Size n = 0; n < PyList_Size(others); n++) {
        if (!read_found(query, list, PyLong_AsSsize_t(PyList_GetItem(others, n)), &other)) return NULL;
        if (repeats(print, query->pieces[other.piece].prints + other.doc * PRINT_WIDTH)) return PyBool_FromLong(1);
    }
    return PyBool_FromLong(0);
}

static PyMethodDef METHODS[] = {{"match", match, METH_VARARGS, NULL},
                                {"terms", terms, METH_O, NULL},
                                {"held", held, METH_VARARGS, NULL},
                                {"best", best, METH_VARARGS, NULL},
                                {"repeats_any", repeats_any, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_kernel", .m_methods = METHODS};

PyMODINIT_FUNC PyInit__kernel(void) {
    PyObject *module = PyModule_Create(&MODULE);
    if (module) PyModule_AddIntConstant(module, "SOURCE", SOURCE); /* what it was made of; see `hatch_build.py` */
    if (module) PyModule_AddIntConstant(module, "FLAGS", FLAGS);
    return module;
}
