"""The forward pass of all-MiniLM-L6-v2 in numpy.

Six BERT layers (Devlin et al. 2018, arXiv:1810.04805), mean pooling and normalisation as in
Sentence-BERT (Reimers and Gurevych 2019, arXiv:1908.10084).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors
from tokenizers import Tokenizer

Array = npt.NDArray[np.float32]

LAYERS = 6
HEADS = 12
WIDTH = 384
MAX_TOKENS = 256  # sentence_bert_config.json; the model was trained on shorter texts still
EPSILON = np.float32(1e-12)
CHUNK = 32_768  # floats
BATCH = 8  # texts of similar length per pass: bounds the attention matrices at about 25 MB


class MiniLM:
    """Weights and tokenizer of one loaded model. Read-only, so threads may share it."""

    def __init__(self, *, weights: bytes, tokenizer: Path) -> None:
        """Raises ValueError when the files are not those of this model."""
        tensors: dict[str, Array] = load_safetensors(weights)
        try:
            self._words = tensors["embeddings.word_embeddings.weight"]
            # Every input is one segment, so its row can be added to the positions once.
            self._positions = (
                tensors["embeddings.position_embeddings.weight"]
                + tensors["embeddings.token_type_embeddings.weight"][0]
            )
            self._first_norm = _norm_of(tensors, "embeddings.LayerNorm")
            self._layers = [_layer_of(tensors, number) for number in range(LAYERS)]
        except KeyError as missing:
            raise ValueError(f"the weights hold no tensor {missing}") from missing
        if not tokenizer.is_file():
            raise ValueError(f"{tokenizer.name} is missing")
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=MAX_TOKENS)

    def embed(self, texts: Sequence[str]) -> Array:
        """(n, 384) float32, rows of norm 1, in the order of the texts."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(tokens), WIDTH), np.float32)
        by_length = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
        for first in range(0, len(by_length), BATCH):
            indices = by_length[first : first + BATCH]
            vectors[indices] = self._forward([tokens[index] for index in indices])
        return vectors

    def _forward(self, tokens: list[list[int]]) -> Array:
        longest = max(map(len, tokens))
        ids = np.zeros((len(tokens), longest), np.int64)
        mask = np.zeros((len(tokens), longest), np.float32)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        hidden = _normalise(self._words[ids] + self._positions[:longest], self._first_norm)
        blocked = (mask[:, None, None, :] - 1) * np.float32(1e9)
        for layer in self._layers:
            hidden = _apply(layer, hidden, blocked)
        mean = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        unit: Array = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return unit.astype(np.float32)


Affine = tuple[Array, Array]
Layer = dict[str, Affine]


def _norm_of(tensors: dict[str, Array], name: str) -> Affine:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def _layer_of(tensors: dict[str, Array], number: int) -> Layer:
    prefix = f"encoder.layer.{number}"
    inputs = [_norm_of(tensors, f"{prefix}.attention.self.{x}") for x in ("query", "key", "value")]
    return {
        # Query, key and value in one product: three small ones cost more.
        "qkv": (
            np.ascontiguousarray(np.concatenate([w for w, _ in inputs]).T),
            np.concatenate([b for _, b in inputs]),
        ),
        "attended": _transposed(tensors, f"{prefix}.attention.output.dense"),
        "attended_norm": _norm_of(tensors, f"{prefix}.attention.output.LayerNorm"),
        "up": _transposed(tensors, f"{prefix}.intermediate.dense"),
        "down": _transposed(tensors, f"{prefix}.output.dense"),
        "norm": _norm_of(tensors, f"{prefix}.output.LayerNorm"),
    }


def _transposed(tensors: dict[str, Array], name: str) -> Affine:
    weight, bias = _norm_of(tensors, name)
    return np.ascontiguousarray(weight.T), bias


def _apply(layer: Layer, hidden: Array, blocked: Array) -> Array:
    count, length, _ = hidden.shape
    qkv = _linear(hidden, layer["qkv"]).reshape(count, length, 3, HEADS, WIDTH // HEADS)
    # Contiguous heads: numpy multiplies strided matrices without BLAS, many times slower.
    query, key, value = np.ascontiguousarray(qkv.transpose(2, 0, 3, 1, 4))
    query *= np.float32(1 / np.sqrt(WIDTH // HEADS))
    scores = query @ key.swapaxes(-1, -2)
    scores += blocked
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    attended = (scores @ value).transpose(0, 2, 1, 3).reshape(count, length, WIDTH)
    hidden = _normalise(hidden + _linear(attended, layer["attended"]), layer["attended_norm"])
    inner = _gelu(_linear(hidden, layer["up"]))
    return _normalise(hidden + _linear(inner, layer["down"]), layer["norm"])


def _linear(values: Array, affine: Affine) -> Array:
    weight, bias = affine
    flat = values.reshape(-1, weight.shape[0]) @ weight
    flat += bias
    product: Array = flat.reshape(*values.shape[:-1], weight.shape[1])
    return product


def _normalise(values: Array, affine: Affine) -> Array:
    weight, bias = affine
    scaled = values - values.mean(axis=-1, keepdims=True)
    variance = np.einsum("...i,...i->...", scaled, scaled)[..., None] / WIDTH
    scaled /= np.sqrt(variance + EPSILON)
    scaled *= weight
    scaled += bias
    return np.asarray(scaled, np.float32)


def _gelu(values: Array) -> Array:
    """x · (1 + erf(x / √2)) / 2, in place, in stretches that stay in the processor's cache."""
    flat = values.reshape(-1)
    for first in range(0, flat.size, CHUNK):
        x = flat[first : first + CHUNK]
        x *= np.float32(0.5) * (1 + _erf(x * np.float32(0.7071067811865476)))
    return values


def _erf(x: Array) -> Array:
    """Error below 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26."""
    size = np.minimum(np.abs(x), np.float32(4))  # beyond 4 it is 1; and no denormals in exp
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series *= t
        series += np.float32(coefficient)
    series *= t
    series *= np.exp(-size * size)
    value: Array = np.copysign(1 - series, x)
    return value
