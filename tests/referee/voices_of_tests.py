"""Voices that lie, hang, crash and eat memory. They run in processes of their own, by their module's name."""

import os
import time

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from qbench.referee.voices.base import Voice


class Honest(Voice):
    title, maker, order = "the honest one", "honest", 1

    def open(self, path):
        evaluator = ReferenceEvaluator(onnx.load(path))
        return lambda inputs: evaluator.run(None, inputs)


class AlsoHonest(Honest):
    title, maker, order = "the other honest one", "also honest", 2


class Relative(Honest):
    """Of the same maker as the first."""

    title, maker, order = "the honest one, plain", "honest", 3


class Slower(Honest):
    title, maker, order, slow = "the slow one", "slow", 4, True


class Liar(Voice):
    """Takes what is below zero half as bad as it is: right up to the first Relu."""

    title, maker, order = "the liar", "liar", 5

    def open(self, path):
        model = onnx.load(path)
        for node in model.graph.node:
            if node.op_type == "Relu":
                node.op_type = "LeakyRelu"
                node.attribute.append(onnx.helper.make_attribute("alpha", 0.5))
        evaluator = ReferenceEvaluator(model)
        return lambda inputs: evaluator.run(None, inputs)


class LiesAlike(Liar):
    title, maker, order = "the liar's friend", "friend", 6


class Fuses(Voice):
    """Wrong only where nobody looks at what stands between a MatMul and its Relu, as an engine that fuses."""

    title, maker, order = "the one that fuses", "fuses", 7

    def open(self, path):
        model = onnx.load(path)
        outputs = {output.name for output in model.graph.output}
        for node in model.graph.node:
            maker = next((n for n in model.graph.node if node.input[0] in n.output), None)
            if node.op_type == "Relu" and maker is not None and not outputs.intersection(maker.output):
                node.op_type = "Neg"
        evaluator = ReferenceEvaluator(model)
        return lambda inputs: evaluator.run(None, inputs)


class Hangs(Voice):
    title, maker = "the one that hangs", "hangs"

    def open(self, path):  # noqa: ARG002
        time.sleep(600)


class AnswersOnce(Honest):
    title, maker, order = "the one that tires", "tires", 8

    def open(self, path):
        answer, asked = super().open(path), []

        def slower_and_slower(inputs):
            if asked:
                time.sleep(600)
            asked.append(1)
            return answer(inputs)

        return slower_and_slower


class Crashes(Voice):
    title, maker = "the one that crashes", "crashes"

    def open(self, path):  # noqa: ARG002
        os.kill(os.getpid(), 11)


class Leaves(Voice):
    title, maker = "the one that leaves", "leaves"

    def open(self, path):  # noqa: ARG002
        os.write(1, b"the last words\n")
        os._exit(7)


class EatsMemory(Voice):
    title, maker = "the one that eats", "eats"

    def open(self, path):  # noqa: ARG002
        kept = []
        while True:
            kept.append(np.ones(1 << 22))


class Refuses(Voice):
    title, maker = "the one that refuses", "refuses"

    def open(self, path):  # noqa: ARG002
        raise NotImplementedError("no implementation of Sinh")


class SaysWords(Voice):
    title, maker = "the one that says words", "words"

    def open(self, path):  # noqa: ARG002
        return lambda inputs: [[{"yes": 0.5}]]
