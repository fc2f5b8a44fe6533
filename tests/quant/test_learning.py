"""Training as a process: it resumes, it stops in time, it says when it came to no good end."""

from dataclasses import astuple, replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from small_networks import products, some

from qbench.errors import Diverged
from qbench.folders import cache_folder
from qbench.quant import learning
from qbench.quant.fake_quant import coarse_gradients
from qbench.quant.learning import Learned, Schedule, checkpoint_key, distance, learn
from qbench.quant.torch_network import torch_network

X = some(64, 8)
USUAL = Schedule(3, 1e-2, batch=16, seed=5)


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))


def take(rows, rng):
    return {"x": X[rows] + rng.normal(0, 0.01, (len(rows), 8)).astype("f4")}


def pair(coarse=False):
    """Return a student that is off, and its teacher."""
    student, teacher = torch_network(products()), torch_network(products())
    with torch.no_grad():
        for weight in student.weights.values():
            weight.mul_(0.7)
    if coarse:
        student.around = coarse_gradients()
    return student, teacher


def trained(schedule=USUAL, key="a key", coarse=False, **more):
    student, teacher = pair(coarse)
    told = learn(student, teacher, more.pop("take", take), len(X), schedule, key=key, **more)
    return {name: weight.detach().numpy().copy() for name, weight in student.weights.items()}, told


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_the_student_comes_nearer():
    _, told = trained(replace(USUAL, epochs=20))
    assert told.loss < 0.1 * told.first_loss
    assert told.epochs == 20
    assert not told.out_of_time


def test_the_same_twice_is_the_same_and_another_seed_is_not():
    first, again, other = trained()[0], trained()[0], trained(replace(USUAL, seed=6))[0]
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("killed_in", [1, 2])
def test_a_run_that_was_killed_ends_as_one_that_was_not(coarse, killed_in):
    whole, told = trained(coarse=coarse)
    calls = iter(range(1, 100))

    def dies(rows, rng):
        if next(calls) == 4 * killed_in + 2:  # four steps an epoch: in the second of the next
            raise Killed
        return take(rows, rng)

    with pytest.raises(Killed):
        trained(coarse=coarse, take=dies)
    counting = Counting()
    resumed, told_again = trained(coarse=coarse, take=counting)
    assert counting.steps == 4 * (3 - killed_in)
    assert same(resumed, whole)
    assert (told_again.loss, told_again.first_loss) == (told.loss, told.first_loss)
    assert not list(cache_folder().glob("train/*"))


class Counting:
    steps = 0

    def __call__(self, rows, rng):
        self.steps += 1
        return take(rows, rng)


def test_a_run_that_was_killed_after_its_last_epoch_says_the_same(monkeypatch):
    whole, told = trained()
    with monkeypatch.context() as patch:
        patch.setattr(learning.Path, "unlink", die)
        with pytest.raises(Killed):
            trained()
    resumed, told_again = trained(take=die)
    assert same(resumed, whole)
    assert (told_again.epochs, told_again.loss) == (3, told.loss)


def die(*_, **__):
    raise Killed


def test_a_checkpoint_of_another_key_is_left_alone():
    with pytest.raises(Killed):
        trained(key="first", after_step=dies_at(6))
    assert len(list(cache_folder().glob("train/*.pt"))) == 1
    counting = Counting()
    trained(key="second", take=counting)
    assert counting.steps == 12
    assert len(list(cache_folder().glob("train/*.pt"))) == 1


def dies_at(step):
    calls = iter(range(1, 100))

    def after():
        if next(calls) == step:
            raise Killed

    return after


def test_the_key_changes_with_everything_it_is_made_of():
    parts = [astuple(USUAL), "a network", "train", "calibration"]
    keys = {checkpoint_key(*parts), checkpoint_key(astuple(replace(USUAL, seed=6)), *parts[1:])}
    keys |= {checkpoint_key(*parts[:at], "another", *parts[at + 1 :]) for at in range(4)}
    assert len(keys) == 6
    assert checkpoint_key(*parts) == checkpoint_key(*parts)


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_the_key_changes_with_the_libraries_that_train(library, monkeypatch):
    before = checkpoint_key("a run")
    monkeypatch.setattr(learning, "version", lambda name: "0.1" if name == library else version(name))
    assert checkpoint_key("a run") != before


def test_the_key_changes_with_the_code_that_trains(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    monkeypatch.setattr(learning, "__file__", str(tmp_path / "code" / "learning.py"))
    keys = set()
    for text in ("SOFTNESS = 2.0", "SOFTNESS = 3.0", "SOFTNESS = 2.0"):
        (tmp_path / "code" / "neighbour.py").write_text(text)
        keys.add(checkpoint_key("a run"))
    assert len(keys) == 2


def test_after_every_step_weights_can_be_held_in_place():
    student, teacher = pair()
    first, steps = next(iter(student.weights)), []

    def hold():
        steps.append(1)
        with torch.no_grad():
            student.weights[first].mul_(0)

    learn(student, teacher, take, len(X), USUAL, key="held", after_step=hold)
    assert len(steps) == 3 * 4
    assert not student.weights[first].detach().numpy().any()


def test_frozen_parameters_stay():
    student, teacher = pair()
    name, weight = next(iter(student.weights.items()))
    weight.requires_grad_(False)
    before = weight.detach().clone()
    learn(student, teacher, take, len(X), USUAL, key="frozen")
    assert torch.equal(student.weights[name], before)
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("how", ["far away", "no number"])
def test_a_run_that_diverges_says_where_and_names_a_smaller_rate(how):
    calls = iter(range(1, 1000))

    def off(rows, rng):
        given = take(rows, rng)
        if how == "no number" and next(calls) == 7:
            given["x"][0] = np.nan
        return given

    rate = 1.0 if how == "far away" else 0.01
    scale = 300.0 if how == "far away" else 1.0

    def push(student):
        with torch.no_grad():
            for weight in student.weights.values():
                weight.mul_(scale)

    student, teacher = pair()
    steps = iter(range(1, 1000))
    words = (
        r"diverged in epoch (2, step 3|4, step 1).*\n  fix: write learning_rate = 0\.\d+ \(it was (1|0.01)\)"
    )
    with pytest.raises(Diverged, match=words):
        learn(
            student, teacher, off, len(X), replace(USUAL, epochs=9, learning_rate=rate), key="off",
            after_step=lambda: push(student) if next(steps) == 12 else None,
        )  # fmt: skip
    assert not list(cache_folder().glob("train/*"))


@pytest.mark.parametrize("last", [4.0, 10.0])
def test_a_last_epoch_far_above_the_beginning_is_no_good_end(last, monkeypatch):
    """Ten times the first loss may come back from in a step; at the end there is no step to come."""
    told = iter([1.0] * 8 + [last] * 4)
    monkeypatch.setattr(learning, "distance", lambda found, _: found.sum() * 0 + next(told))
    if last > learning.WORSE:
        with pytest.raises(Diverged, match=r"in its last epoch: the loss is 10, and was 1 before"):
            trained()
    else:
        assert trained()[1].loss == last
    assert not list(cache_folder().glob("train/*"))


def test_a_time_budget_ends_it_at_an_epochs_end_and_it_says_so():
    _, told = trained(replace(USUAL, epochs=50, minutes=1e-9))
    assert (told.epochs, told.out_of_time) == (1, True)
    assert "1 epochs" in str(told)
    assert "stopped by its time budget" in str(told)
    _, told = trained(replace(USUAL, minutes=60.0))
    assert (told.epochs, told.out_of_time) == (3, False)
    assert "budget" not in str(told)


def test_time_spent_before_a_kill_counts():
    with pytest.raises(Killed):
        trained(replace(USUAL, minutes=1000.0), after_step=dies_at(6))
    (kept,) = cache_folder().glob("train/*.pt")
    facts = torch.load(kept, weights_only=True)
    torch.save(facts | {"wall_s": 1e5}, kept)
    _, told = trained(replace(USUAL, minutes=1000.0))
    assert (told.epochs, told.out_of_time) == (1, True)
    assert told.wall_s > 1e5
    assert told.earlier_s == 1e5
    assert told.loss > 0  # of the epoch that was done
    assert trained()[1].earlier_s == 0  # of a run that went through


def test_fewer_examples_than_a_batch_are_a_batch():
    steps = []
    trained(replace(USUAL, batch=1000), take=lambda rows, rng: steps.append(len(rows)) or take(rows, rng))
    assert steps == [64, 64, 64]


def test_every_example_comes_once_an_epoch_in_an_order_of_its_own():
    seen = []
    trained(take=lambda rows, rng: seen.append(rows) or take(rows, rng))
    epochs = [np.concatenate(seen[start : start + 4]) for start in (0, 4, 8)]
    assert all(sorted(epoch) == list(range(64)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])


def test_the_rate_rises_and_falls_to_zero():
    rates = [learning._rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 20)
    assert np.argmax(rates) == 19
    assert rates[-1] < 1e-3


def test_distance_by_hand():
    # two classes at temperature 2: (0, 2 ln 3) are a quarter and three quarters, (0, 0) a half each
    wanted, own = torch.tensor([[0.0, 2 * np.log(3)]]), torch.tensor([[0.0, 0.0]])
    divergence = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert distance(own, wanted).item() == pytest.approx(4 * divergence, rel=1e-5)
    assert distance(wanted, wanted).item() == pytest.approx(0, abs=1e-6)
    # anything else: 1 and 1 off where the variance of 0, 2, 4, 6 is 20 / 3
    wanted = torch.tensor([0.0, 2, 4, 6]).reshape(4, 1)
    off = torch.tensor([1.0, 1, 0, 0]).reshape(4, 1)
    assert distance(wanted + off, wanted).item() == pytest.approx(0.5 * 3 / 20)


def test_what_is_told():
    told = Learned(2, 0.25, 0.5, 61.2, False)
    assert str(told) == "2 epochs in 61 s; loss 0.5 before, 0.25 in the last epoch"
