"""Outputs of every kind with real shapes, made of seeded numbers."""

import numpy as np

RNG = np.random.default_rng(0)


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("f4")


def softmax(logits, axis=-1):
    raised = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return (raised / raised.sum(axis=axis, keepdims=True)).astype("f4")


def sigmoid(x):
    return (1 / (1 + np.exp(-x))).astype("f4")


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype("f4")


def ctc(count=6, steps=20, letters=30, blank=0):
    """Logits of a reader: letters one step wide between blanks."""
    path = np.full((count, steps), blank)
    path[:, 1::3] = np.random.default_rng(1).integers(1, letters - 1, (count, len(range(1, steps, 3))))
    return (np.eye(letters)[path] * 9 + 0.1 * normal(count, steps, letters)).astype("f4")


def blobs(count=8, side=48):
    """Maps with one filled square each, as a segmentation has."""
    maps = np.full((count, 1, side, side), 0.02, "f4")
    for number in range(count):
        maps[number, 0, 1 + 5 * number : 9 + 5 * number, 4:24] = 0.97
    return maps


def yolo(count=6, anchors=256):
    boxes = np.random.default_rng(2).uniform(20, 640, (count, 4, anchors)).astype("f4")
    return np.concatenate([boxes, sigmoid(3 * normal(count, 3, anchors) - 4)], axis=1)


LOOKS_LIKE = [
    ("logits", normal(40, 10), "scores"),
    ("token logits", normal(8, 12, 9), "scores"),
    ("softmax", softmax(normal(40, 10)), "probabilities"),
    ("softmax in half floats", softmax(normal(40, 1000)).astype("f2"), "probabilities"),
    ("a softmax for every token", softmax(normal(8, 12, 9)), "probabilities"),
    ("a softmax for every pixel", softmax(normal(4, 5, 16, 16), axis=1), "probabilities"),
    ("tags", sigmoid(normal(40, 12)), "sigmoid"),
    ("speech or not", sigmoid(normal(40, 1)), "sigmoid"),
    ("a probability alone", sigmoid(normal(40)), "sigmoid"),
    ("a detector's scores", sigmoid(normal(4, 3, 256) - 3), "sigmoid"),
    ("a text detector's map", blobs(), "map"),
    ("a map without a channel", blobs()[:, 0], "map"),
    ("a picture", RNG.random((6, 3, 16, 16), "f4"), "values"),
    ("logits for every pixel", normal(6, 2, 16, 16), "values"),
    ("a regression", normal(40, 1), "values"),
    ("a regression without an axis", normal(40), "values"),
    ("of length one", unit(normal(40, 32)), "embedding"),
    ("layer-normalised", normal(40, 384), "embedding"),
    ("last_hidden_state", normal(8, 16, 32) * np.arange(1, 9)[:, None, None], "embedding"),
    ("boxes", np.random.default_rng(0).uniform(0, 640, (6, 50, 4)).astype("f4"), "boxes"),
    ("one box", np.random.default_rng(0).uniform(0, 640, (40, 4)).astype("f4"), "boxes"),
    ("text", ctc(), "text"),
    ("text, blank last", ctc(blank=29), "text"),
    ("text as probabilities", softmax(ctc()), "text"),
    ("labels", np.arange(40) % 3, "labels"),
    ("truth values", np.arange(40) % 2 == 0, "labels"),
    ("words", np.array(["a", "b"] * 20), "labels"),
    ("words as objects", np.array(["a", "b"] * 20, object), "labels"),
    ("pictures of bytes", RNG.integers(0, 256, (4, 3, 16, 16), np.uint8), "values"),
    ("a constant", np.tile(np.arange(6, dtype="f4"), (40, 1)), "constant"),
    ("nothing at all", np.zeros((4, 0), "f4"), "constant"),
]  # fmt: skip
