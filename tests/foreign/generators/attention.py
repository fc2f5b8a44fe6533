"""Networks with attention: masks of -inf and -3.4e38, ids and masks of integers, tied weights."""

from __future__ import annotations

import numpy as np

from generators.making import exported, gratings, seeded, trained
from generators.network import Law, Network, first_answer, network

SCORES = Law(("scores",), first_answer(), 0.95, 0.8)
WIDTH, HEADS, LENGTH, WORDS = 32, 4, 12, 40


def _sentences(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids and masks, (count, 12) int64, and the class: which of four groups most words are from."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, count)
    lengths = rng.integers(5, LENGTH + 1, (count, 1))
    own = rng.random((count, LENGTH)) < 0.6
    ids = np.where(
        own, classes[:, None] * 10 + rng.integers(0, 10, own.shape), rng.integers(0, WORDS, own.shape)
    )
    mask = (np.arange(LENGTH) < lengths).astype("i8")
    return ids * mask, mask, classes


def _attention(torch, x, weights, mask=None, scale=None):
    """Return attention of HEADS heads; the mask is added to the scores and broadcast."""
    parts = [(x @ one).reshape(x.shape[0], -1, HEADS, WIDTH // HEADS).transpose(1, 2) for one in weights[:3]]
    scores = parts[0] @ parts[1].transpose(2, 3) * ((WIDTH // HEADS) ** -0.5 if scale is None else scale)
    scores = scores if mask is None else scores + mask
    mixed = (torch.softmax(scores, -1) @ parts[2]).transpose(1, 2).reshape(x.shape[0], -1, WIDTH)
    return mixed @ weights[3]


def _weights(torch, count=4):
    return torch.nn.ParameterList(torch.randn(WIDTH, WIDTH) / WIDTH**0.5 for _ in range(count))


@network
def masked_encoder() -> Network:
    """Ids and mask of int64, padding masked by -3.4e38, which takes the whole range: microsoft/Olive#1597."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = (
                nn.Embedding(WORDS, WIDTH),
                nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.1),
            )
            self.attend, self.norm, self.out = _weights(torch), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)

        def forward(self, ids, mask):
            x = self.words(ids) + self.places
            away = (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
            x = self.norm(x + _attention(torch, x, self.attend, away))
            return self.out((x * mask[..., None].float()).sum(1) / mask.sum(1, keepdim=True).float())

    ids, mask, classes = _sentences(600, 0)
    net = trained(seeded(Net), (ids, mask), classes, steps=120)
    model = exported(net, (ids[:2], mask[:2]), ["input_ids", "attention_mask"], ["scores"], opset=14)
    ids, mask, _ = _sentences(96, 1)
    return Network(model, {"input_ids": ids, "attention_mask": mask}, {"scores": SCORES})


@network
def causal_decoder() -> Network:
    """A causal mask that is -inf in the file, and the word table tied to the last product.

    pytorch/executorch#8736 (-inf has no code), #21856 there and microsoft/onnxruntime#28326 (tied).
    """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.attend = nn.Parameter(torch.randn(WORDS, WIDTH) * 0.5), _weights(torch)
            self.register_buffer("future", torch.full((LENGTH, LENGTH), float("-inf")).triu(1))

        def forward(self, ids):
            x = nn.functional.embedding(ids, self.words)
            x = x + _attention(torch, x, self.attend, self.future)
            return x @ self.words.T

    def walks(count, seed):
        rng = np.random.default_rng(seed)
        steps = rng.choice([1, 1, 1, 7], (count, LENGTH + 1))
        return (rng.integers(0, WORDS, (count, 1)) + steps.cumsum(1)) % WORDS

    both = walks(600, 0)

    def loss(scores, wanted):
        return nn.functional.cross_entropy(scores.reshape(-1, WORDS), wanted.reshape(-1))

    net = trained(seeded(Net), both[:, :-1].copy(), both[:, 1:].copy(), steps=150, rate=1e-2, loss=loss)
    model = exported(net, both[:2, :-1], ["ids"], ["scores"], opset=14)
    return Network(model, {"ids": walks(64, 1)[:, :-1].copy()}, {"scores": SCORES})


@network
def vision_transformer() -> Network:
    """A ViT with a class token: 81 % fall to 0 % with int8 residual sums, alibaba/TinyNeuralNetwork#204."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.token = nn.Conv2d(3, WIDTH, 4, 4), nn.Parameter(torch.randn(1, 1, WIDTH) * 0.1)
            self.places, self.attend = nn.Parameter(torch.randn(17, WIDTH) * 0.1), _weights(torch)
            self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.wide, self.back, self.out = nn.Linear(WIDTH, 64), nn.Linear(64, WIDTH), nn.Linear(WIDTH, 5)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
            x = x + _attention(torch, self.before(x), self.attend)
            x = x + self.back(nn.functional.gelu(self.wide(self.after(x))))
            return self.out(x[:, 0])

    pictures, labels = gratings(800, 0)
    net = trained(seeded(Net), pictures, labels, steps=200)
    model = exported(net, pictures[:2], ["image"], ["scores"], opset=17)
    return Network(model, {"image": gratings(96, 1)[0]}, {"scores": SCORES})


@network
def scaled_heads() -> Network:
    """Queries and keys of length 1, a learned scale a head (Swin v2): small constants as operands.

    microsoft/onnxruntime#24705 (constants that share names), microsoft/onnxruntime#25362.
    """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.attend = nn.Linear(10, WIDTH), _weights(torch)
            self.scale, self.out = (
                nn.Parameter(torch.tensor([5.0, 10.0, 2.0, 20.0]).reshape(HEADS, 1, 1)),
                nn.Linear(WIDTH, 5),
            )  # noqa: E501

        def forward(self, x):
            x = torch.relu(self.into(x))
            heads = [(x @ one).reshape(-1, LENGTH, HEADS, 8).transpose(1, 2) for one in self.attend[:3]]
            ask, key = (one / one.square().sum(-1, keepdim=True).add(1e-6).sqrt() for one in heads[:2])
            mixed = torch.softmax(ask @ key.transpose(2, 3) * self.scale, -1) @ heads[2]
            return self.out((x + mixed.transpose(1, 2).reshape(-1, LENGTH, WIDTH) @ self.attend[3]).mean(1))

    from generators.making import templates

    x, labels = templates(600, 0, (LENGTH, 10), noise=1.5)
    model = exported(trained(seeded(Net), x, labels), x[:2], ["x"], ["scores"], opset=14)
    return Network(model, {"x": templates(96, 1, (LENGTH, 10), noise=1.5)[0]}, {"scores": SCORES})
