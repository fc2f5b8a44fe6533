"""From where on an output holds, by the metric that decides: each limit with the reason why it lies there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """At `passes` or better it holds; worse than `fails` it does not; between them nothing is proven."""

    passes: float
    fails: float
    reason: str
    says: str  # a sentence's middle with {value}, {limit} where it is stated


ANSWERS = (
    "accuracy cannot change by more than the share of answers that do: one in a hundred is the loss that "
    "8 bits are usually granted (MLPerf: 99 % of float), one in twenty is more than any label could excuse"
)
LIMITS: dict[str, Limit] = {
    "same_first": Limit(0.99, 0.95, ANSWERS, "the same first answer as float on {value} of {n}"),
    "same_positions": Limit(
        0.99, 0.95, ANSWERS, "the same first answer as float at {value} of the positions of {n}"
    ),
    "same_labels": Limit(0.99, 0.95, ANSWERS, "float's labels on {value} of {n}"),
    "same_text": Limit(
        0.95,
        0.80,
        "a line of some ten letters is wrong where one letter is: 95 % of lines are 99.5 % of letters, and "
        "80 % are 98 %",
        "exactly float's text on {value} of {n}",
    ),
    "cosine": Limit(
        0.99,
        0.95,
        "an angle of 8 degrees at 0.99 is below what unrelated neighbours differ by; 18 degrees at 0.95 "
        "reorder what is found",
        "a mean cosine of {value} to float's vectors over {n}",
    ),
    "map_overlap": Limit(
        0.95,
        0.75,
        "COCO's strictest match of two regions is an overlap of 0.95, and below 0.75 they match only loosely",
        "an overlap of {value} with what float marks, over {n}",
    ),
    "confident_overlap": Limit(
        0.95,
        0.75,
        "one confident answer in twenty lost or invented may be chance; one in four changes what is found",
        "an overlap of {value} with float's confident answers, over {n}",
    ),
    "comparable": Limit(
        0.95,
        0.75,
        "an example whose output has another shape has something lost or invented",
        "an output of float's shape, all numbers, on {value} of {n}",
    ),
    "range_error": Limit(
        0.01,
        0.05,
        "a box a fifth of the picture wide that is off by 1 % of the picture still overlaps itself by 0.8; "
        "off by 5 % it is another box",
        "a mean error of {value} of its range over {n}",
    ),
    "sqnr": Limit(
        30.0,
        20.0,
        "at 30 dB the difference has a thousandth of the signal's power, 3 % of its size; at 20 dB 10 %",
        "float's values stand {value} above the difference to them, over {n}",
    ),
}
OF_SIZE = ("sqnr", "range_error", "cosine")  # how far off, where all others say on how many
SHARES = tuple(name for name in LIMITS if name not in OF_SIZE)
