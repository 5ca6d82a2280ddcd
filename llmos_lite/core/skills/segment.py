"""One immutable piece of the search index: the postings of some documents, packed into arrays.

Measured on 2,000 public skills (bodies of up to 4,000 characters): about 180 terms and 330 neighbouring pairs of terms
a skill, 1.8 KB in memory. Every weight depends on its own document alone, so pieces never have to be weighed anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from llmos_lite.core.skills.fields import K1, TYPICAL, WEIGHTS, B, Document
from llmos_lite.core.skills.kernel import IS_COMPILED
from llmos_lite.core.skills.text import Analyzer

Hashes: TypeAlias = npt.NDArray[np.uint32]
Numbers: TypeAlias = npt.NDArray[np.int32]
Short: TypeAlias = npt.NDArray[np.uint16]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Places: TypeAlias = npt.NDArray[np.intp]

PAIR_BITS = 24
"""Width of the hash of two neighbouring terms; 10,000 skills see 0.2 false pairs in a whole query."""
LARGEST = 1 << 16
"""Documents in one segment at most: their numbers are 16 bits wide."""

STEP = sum(WEIGHTS) * (K1 + 1) / 127
"""Weights are kept in 7 bits, in steps of this; the eighth tells whether the term stands in name or header."""
HEADER_BIT = 0x80
PRINT_WIDTH = 32

ROWS_FROM, ROW_SHARE = LARGEST + 1 if IS_COMPILED else 256, 0.125
"""Without `_kernel.c`, of all but small segments, terms that stand in this share of the documents are kept by document,
too: a product with all of them costs less than picking so many. About 430 terms, 0.4 KB a skill."""

_NOWHERE = np.zeros(0, dtype=np.intp)
_BUCKET = 16
_BYTE = 8
_random = Random(8420)  # noqa: S311 - not numpy's own, which takes 3 MB of a server
_PRINT_FACTORS = np.array([_random.getrandbits(32) | 1 for _ in range(PRINT_WIDTH)], dtype=np.uint32).reshape(-1, 1)


@dataclass(frozen=True, slots=True)
class _Counted:
    """One document as postings: its terms with their weights, its pairs, its fingerprint."""

    terms: Hashes
    weights: Bytes
    pairs: Hashes
    fingerprint: Bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings of `keys`.

    Terms: `terms` (sorted hashes, shape (t,)) begin at `starts` (shape (t + 1,)) in `docs` and `weights` (shape (p,)).
    Pairs: the upper bits of a 24-bit hash name a bucket; bucket i lies at `buckets[i:i + 2]` in `pair_low` (the other
    bits) and `pair_docs`. `by_key` holds the documents in the order of their keys. `prints` has shape (documents, 32):
    equal columns estimate how much two bodies share. Frequent terms: `rows` has their weights by document, shape
    (r, documents), and `row_starts`, shape (r,), where their postings begin, in order.
    """

    keys: tuple[str, ...]
    terms: Hashes
    starts: Numbers
    docs: Short
    weights: Bytes
    buckets: Numbers
    pair_low: Short | Bytes
    pair_docs: Short
    prints: Bytes
    row_starts: Numbers
    rows: Bytes
    by_key: Short

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def common(self) -> float:
        """Return in more than how many documents a term of `rows` stands."""
        return len(self.keys) * ROW_SHARE

    @property
    def size(self) -> int:
        """Return the bytes that the arrays take."""
        arrays = (self.terms, self.starts, self.docs, self.weights, self.buckets, self.row_starts, self.rows)
        return sum(array.nbytes for array in (*arrays, self.pair_low, self.pair_docs, self.prints, self.by_key))

    @classmethod
    def build(cls, documents: Sequence[Document], analyzer: Analyzer) -> Segment:
        """Count the words of `documents` (at least one, at most `LARGEST`)."""
        counted = [_count(document, analyzer) for document in documents]
        return cls._pack(
            tuple(document.key for document in documents),
            (np.concatenate([one.terms for one in counted]), _numbers(len(one.terms) for one in counted)),
            np.concatenate([one.weights for one in counted]),
            (np.concatenate([one.pairs for one in counted]), _numbers(len(one.pairs) for one in counted)),
            np.stack([one.fingerprint for one in counted]),
        )

    @classmethod
    def merge(cls, parts: Sequence[tuple[Segment, npt.NDArray[np.bool_]]]) -> Segment:
        """Join segments, keeping the documents that their masks (shape (documents,)) call alive."""
        offset, term_parts, pair_parts = 0, [], []
        for segment, alive in parts:
            renumbered = (np.cumsum(alive) - 1 + offset).astype(np.uint16)
            term_parts.append(segment.alive_terms(alive, renumbered))
            pair_parts.append(segment.alive_pairs(alive, renumbered))
            offset += int(alive.sum())
        keys = tuple(key for segment, alive in parts for key, kept in zip(segment.keys, alive, strict=True) if kept)
        terms, docs, weights = (np.concatenate(arrays) for arrays in zip(*term_parts, strict=True))
        pairs, pair_docs = (np.concatenate(arrays) for arrays in zip(*pair_parts, strict=True))
        prints = np.concatenate([segment.prints[alive] for segment, alive in parts])
        return cls._pack(keys, (terms, docs), weights, (pairs, pair_docs), prints)

    @classmethod
    def _pack(
        cls,
        keys: tuple[str, ...],
        terms: tuple[Hashes, Short],
        weights: Bytes,
        pairs: tuple[Hashes, Short],
        prints: Bytes,
    ) -> Segment:
        order = np.argsort(terms[0], kind="stable")
        known, first = np.unique(terms[0][order], return_index=True)
        bits = _bucket_bits(len(pairs[0]))
        pair_order = np.argsort(pairs[0], kind="stable")
        sorted_pairs = pairs[0][pair_order]
        edges = np.arange((1 << bits) + 1, dtype=np.uint32) << np.uint32(PAIR_BITS - bits)
        buckets = np.searchsorted(sorted_pairs, edges)
        starts = np.append(first, len(order)).astype(np.int32)
        docs, weights = terms[1][order], weights[order]
        row_starts, rows = _rows(len(keys), starts, docs, weights)
        return cls(
            keys=keys,
            terms=known,
            starts=starts,
            docs=docs,
            weights=weights,
            buckets=buckets.astype(np.int32),
            pair_low=_low_bits(sorted_pairs, bits),
            pair_docs=pairs[1][pair_order],
            prints=prints,
            by_key=np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.uint16),
            row_starts=row_starts,
            rows=rows,
        )

    def alive_terms(self, alive: npt.NDArray[np.bool_], renumbered: Short) -> tuple[Hashes, Short, Bytes]:
        """Return the postings of the living documents: term hashes, new numbers, weights; each of shape (p,)."""
        keep = alive[self.docs]
        hashes = np.repeat(self.terms, np.diff(self.starts))
        return hashes[keep], renumbered[self.docs[keep]], self.weights[keep]

    def alive_pairs(self, alive: npt.NDArray[np.bool_], renumbered: Short) -> tuple[Hashes, Short]:
        """Return the pairs of the living documents: hashes, put together again, and new numbers; shape (p,)."""
        bits = self._bits
        upper = np.repeat(np.arange(1 << bits, dtype=np.uint32), np.diff(self.buckets)) << np.uint32(PAIR_BITS - bits)
        keep = alive[self.pair_docs]
        hashes = upper | self.pair_low
        return hashes[keep], renumbered[self.pair_docs[keep]]

    @property
    def _bits(self) -> int:
        return (len(self.buckets) - 1).bit_length() - 1

    def place(self, key: str) -> int | None:
        """Return the number of the document with this key."""
        at = bisect_left(self.by_key, key, key=self.keys.__getitem__)
        place = int(self.by_key[at]) if at < len(self.keys) else 0
        return place if self.keys and self.keys[place] == key else None

    def postings(self, hashes: Hashes) -> tuple[Places, Places, Numbers, Numbers]:
        """Return which terms stand here, their places among `terms`, and where their postings begin and end."""
        place = self.terms.searchsorted(hashes)
        known = (self.terms.take(place, mode="clip") == hashes).nonzero()[0] if len(self.terms) else _NOWHERE
        place = place.take(known)
        return known, place, self.starts.take(place), self.starts[1:].take(place)

    def pair_postings(self, hashes: Hashes) -> tuple[Places, Short]:
        """Return (index into `hashes`, document) of every document that holds one of these pairs."""
        bits = self._bits
        upper = hashes >> (PAIR_BITS - bits)
        begin = self.buckets.take(upper)
        lengths = self.buckets[1:].take(upper) - begin
        ends = lengths.cumsum()
        at = (begin + lengths - ends).repeat(lengths)
        at += np.arange(len(at))
        same = (self.pair_low.take(at) == _low_bits(hashes, bits).repeat(lengths)).nonzero()[0]
        return ends.searchsorted(same, side="right"), self.pair_docs.take(at.take(same))


def _rows(documents: int, starts: Numbers, docs: Short, weights: Bytes) -> tuple[Numbers, Bytes]:
    """Return where the postings of frequent terms begin, shape (r,), and their weights, shape (r, documents)."""
    common = np.diff(starts) > documents * ROW_SHARE  # as `Segment.common`
    if documents < ROWS_FROM:
        common[:] = False
    begins, ends = starts[:-1][common], starts[1:][common]
    rows = np.zeros((len(begins), documents), dtype=np.uint8)
    for row, begin, end in zip(rows, begins.tolist(), ends.tolist(), strict=True):
        row[docs[begin:end]] = weights[begin:end]
    return begins, rows


def _bucket_bits(pairs: int) -> int:
    """Return how many upper bits name a bucket: enough for about 16 pairs in each, between 8 and 16."""
    return min(16, max(8, (pairs // _BUCKET).bit_length()))


def _low_bits(hashes: Hashes, bits: int) -> Short | Bytes:
    low = hashes & np.uint32((1 << (PAIR_BITS - bits)) - 1)
    return low.astype(np.uint8) if PAIR_BITS - bits <= _BYTE else low.astype(np.uint16)


def _numbers(counts: Iterable[int]) -> Short:
    lengths = np.fromiter(counts, dtype=np.intp)
    return np.repeat(np.arange(len(lengths), dtype=np.uint16), lengths)


def _count(document: Document, analyzer: Analyzer) -> _Counted:
    texts = (document.name, document.header, document.body)
    fields = [np.array(analyzer.hashes(text), dtype=np.uint32) for text in texts]
    terms, inverse = np.unique(np.concatenate(fields), return_inverse=True)
    weights, in_header = np.zeros(len(terms)), np.zeros(len(terms), dtype=bool)
    place = 0
    for field, boost, typical in zip(fields, WEIGHTS, TYPICAL, strict=True):
        counts = np.bincount(inverse[place : place + len(field)], minlength=len(terms))
        place += len(field)
        weights += boost * (K1 + 1) * counts / (counts + K1 * (1 - B + B * len(field) / typical))
        if field is not fields[-1]:
            in_header |= counts > 0
    steps = np.clip(np.rint(weights / STEP), 1, 127).astype(np.uint8)
    pairs = _distinct(np.concatenate([pair_hashes(field[:-1], field[1:]) for field in fields]))
    return _Counted(terms, steps | (in_header * np.uint8(HEADER_BIT)), pairs, _fingerprint(pairs))


def _distinct(hashes: Hashes) -> Hashes:
    """Return each hash once, sorted; `np.unique` would load masked arrays, 1 MB of a server."""
    ordered = np.sort(hashes)
    fresh = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    once: Hashes = ordered[fresh]
    return once


def _fingerprint(pairs: Hashes) -> Bytes:
    """Return the low bytes of 32 min-hashes of the pairs (b-bit minwise hashing, Li and Koenig 2010)."""
    if not len(pairs):
        return np.zeros(PRINT_WIDTH, dtype=np.uint8)
    mixed = (pairs ^ (pairs >> np.uint32(15))) * _PRINT_FACTORS
    least: Hashes = mixed.min(axis=1)
    return (least >> np.uint32(7)).astype(np.uint8)


_FIRST, _SECOND, _ADDED, _LAST = map(np.uint32, (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x2C1B3C6D))
_HALF, _UNUSED = np.uint32(15), np.uint32(32 - PAIR_BITS)


def pair_hashes(first: Hashes, second: Hashes) -> Hashes:
    """Return one 24-bit hash for each term of `first` and its neighbour in `second`; shapes (n,)."""
    mixed = (first * _FIRST) ^ (second * _SECOND + _ADDED)
    hashes: Hashes = ((mixed ^ (mixed >> _HALF)) * _LAST) >> _UNUSED
    return hashes
