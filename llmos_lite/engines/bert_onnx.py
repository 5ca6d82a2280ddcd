"""A BERT encoder as an ONNX graph, written byte by byte from its weights; no torch and no `onnx` package.

Fields and types are those of `onnx.proto` (IR version 9, opset 17); attention, skip connections and GELU are the fused
operators of onnxruntime (`com.microsoft`), so that nothing is left to optimise. The graph holds no weights: they are
handed to the session beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from llmos_lite.engines.model_folder import Shape

Floats: TypeAlias = npt.NDArray[np.float32]

FUSED = "com.microsoft"
_FLOAT, _INT32, _INT64 = 1, 6, 7
_EXTERNAL = 1


@dataclass(frozen=True, slots=True)
class Graph:
    """A model file, and the weights that it names; their order is that of use."""

    model: bytes
    weights: Mapping[str, Floats]


def build(tensors: Mapping[str, Floats], shape: Shape) -> Graph:
    """Return the encoder: `ids` (b, s), `mask` (b, s) and `positions` (s,) give `states` (b, s, width).

    Args:
        tensors: weights by the names of a Hugging Face BERT.
        shape: of the model.

    Raises:
        KeyError: a tensor is not there.
    """
    weights, nodes = _embeddings(tensors), _embedding_nodes(shape.epsilon)
    for layer in range(shape.layers):
        weights |= _layer(tensors, layer)
        nodes += _layer_nodes(layer, shape)
    nodes.append(_node("Identity", [f"h{shape.layers}"], ["states"]))
    parts = [*nodes, _text(2, "encoder"), *(_initializer(name, array) for name, array in weights.items())]
    parts += [_value(11, "ids", _INT64, "bs"), _value(11, "mask", _INT32, "bs"), _value(11, "positions", _INT64, "s")]
    parts.append(_value(12, "states", _FLOAT, ["b", "s", shape.width]))
    opsets = _field(8, _text(1, "") + _number(2, 17)) + _field(8, _text(1, FUSED) + _number(2, 1))
    return Graph(_number(1, 9) + _field(7, b"".join(parts)) + opsets, weights)


def _embeddings(tensors: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the embeddings; every text is of the first segment, so its row is added to each position."""
    positions = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    return {
        "words": tensors["embeddings.word_embeddings.weight"],
        "places": positions,
        "scale": tensors["embeddings.LayerNorm.weight"],
        "shift": tensors["embeddings.LayerNorm.bias"],
    }


def _embedding_nodes(epsilon: float) -> list[bytes]:
    return [
        _node("Gather", ["words", "ids"], ["word"]),
        _node("Gather", ["places", "positions"], ["place"]),
        _node("Add", ["word", "place"], ["sum"]),
        _node("LayerNormalization", ["sum", "scale", "shift"], ["h0"], epsilon=epsilon),
    ]


def _layer(tensors: Mapping[str, Floats], layer: int) -> dict[str, Floats]:
    def of(name: str) -> Floats:
        return tensors[f"encoder.layer.{layer}.{name}"]

    def turned(name: str) -> Floats:
        return np.ascontiguousarray(of(name).T)

    parts = ("query", "key", "value")
    found = {
        "qkv": np.concatenate([turned(f"attention.self.{part}.weight") for part in parts], axis=1),
        "qkv_bias": np.concatenate([of(f"attention.self.{part}.bias") for part in parts]),
        "out": turned("attention.output.dense.weight"),
        "out_bias": of("attention.output.dense.bias"),
        "scale1": of("attention.output.LayerNorm.weight"),
        "shift1": of("attention.output.LayerNorm.bias"),
        "wide": turned("intermediate.dense.weight"),
        "wide_bias": of("intermediate.dense.bias"),
        "narrow": turned("output.dense.weight"),
        "narrow_bias": of("output.dense.bias"),
        "scale2": of("output.LayerNorm.weight"),
        "shift2": of("output.LayerNorm.bias"),
    }
    return {f"{name}{layer}": array for name, array in found.items()}


def _layer_nodes(layer: int, shape: Shape) -> list[bytes]:
    def at(*names: str) -> list[str]:
        return [f"{name}{layer}" for name in names]

    fused, epsilon = FUSED, shape.epsilon
    after = [f"h{layer + 1}"]
    return [
        _node("Attention", [*at("h", "qkv", "qkv_bias"), "mask"], at("a"), fused, num_heads=shape.heads),
        _node("MatMul", at("a", "out"), at("b")),
        _node("SkipLayerNormalization", at("b", "h", "scale1", "shift1", "out_bias"), at("c"), fused, epsilon=epsilon),
        _node("MatMul", at("c", "wide"), at("d")),
        _node("BiasGelu", at("d", "wide_bias"), at("e"), fused),
        _node("MatMul", at("e", "narrow"), at("f")),
        _node("SkipLayerNormalization", at("f", "c", "scale2", "shift2", "narrow_bias"), after, fused, epsilon=epsilon),
    ]


# The wire format of protocol buffers: https://protobuf.dev/programming-guides/encoding


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _field(number, value.encode())


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: float) -> bytes:
    parts = [_text(1, name) for name in inputs] + [_text(2, name) for name in outputs] + [_text(4, kind)]
    parts += [_field(5, _attribute(name, value)) for name, value in attributes.items()]
    return _field(1, b"".join(parts) + (_text(7, domain) if domain else b""))


def _attribute(name: str, value: float) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)


def _value(number: int, name: str, kind: int, sizes: Sequence[str | int]) -> bytes:
    """Return the type of an input or output; a size is a number or, for one that varies, a name."""
    shape = b"".join(_field(1, _number(1, size) if isinstance(size, int) else _text(2, size)) for size in sizes)
    return _field(number, _text(1, name) + _field(2, _field(1, _number(1, kind) + _field(2, shape))))


def _initializer(name: str, array: Floats) -> bytes:
    """Return a weight that lies elsewhere: the session is given it under its name."""
    sizes = b"".join(_number(1, size) for size in array.shape)
    place = _field(13, _text(1, "location") + _text(2, "session"))
    return _field(5, sizes + _number(2, _FLOAT) + _text(8, name) + place + _number(14, _EXTERNAL))
