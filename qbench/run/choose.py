"""From a Choice in a suite to the plug-in that it means, its parameters checked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from qbench.cases import Choice
from qbench.data.base import DATASETS, Dataset
from qbench.errors import BadFile, BadParameter, QbenchError, UnknownName
from qbench.folders import data_variable
from qbench.models.base import MODELS, Model
from qbench.models.file import SUFFIX, OnnxFile
from qbench.registry import Registry, did_you_mean
from qbench.strategies.base import STRATEGIES, Strategy
from qbench.suite import SuiteModel
from qbench.tasks.base import TASKS, Task
from qbench.wire import from_plain

P = TypeVar("P")


def strategy_of(choice: Choice) -> Strategy:
    """Return the strategy with its parameters.

    Raises:
        UnknownName: no such strategy.
        BadParameter: a parameter that it does not have, of a wrong type, or out of its range.
    """
    return _made(STRATEGIES, choice)


def values_of(strategy: str, parameter: str) -> tuple[str, ...]:
    """Return the words that a strategy's parameter takes, in its own order.

    Raises:
        UnknownName: no such strategy.
    """
    return get_args(get_type_hints(STRATEGIES[strategy])[parameter])


def model_of(choice: Choice) -> Model:
    """Return the model: the zoo's by name, the user's file by its suffix.

    Raises:
        UnknownName: the zoo has no such model.
    """
    if not choice.name.endswith(SUFFIX):
        return MODELS[choice.name]
    told = {name: str(value) for name, value in choice.params}
    return OnnxFile(choice.name, state=told.get("state", ""), sizes=told.get("sizes", ""))


def source_of(wanted: SuiteModel) -> Choice:
    """Return a suite's model as a choice: with what the suite says of a user's own file."""
    told = {"state": wanted.state, "sizes": wanted.sizes}
    return Choice(wanted.use, tuple((name, value) for name, value in told.items() if value))


def task_of(choice: Choice) -> Task:
    """Return the task with its parameters; errors as for `strategy_of`."""
    return _made(TASKS, choice)


def _made(registry: Registry[type[P]], choice: Choice) -> P:
    kind = registry[choice.name]
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    for name, value in choice.params:
        if name not in known:
            raise BadParameter(
                f"{registry.kind} {choice.name} has no parameter {name!r} (given {name}={value!r})",
                fix=did_you_mean(name, known),
            )
        try:
            from_plain(hints[name], value)
        except TypeError as error:
            raise BadParameter(
                f"{registry.kind} {choice.name}: {name}={value!r} is no {_words(hints[name])}",
                fix=f"write {name} = {_example(hints[name])}",
            ) from error
    try:
        return kind(**dict(choice.params))
    except (TypeError, ValueError) as error:  # a plug-in that does not speak BadParameter
        raise BadParameter(
            f"{registry.kind} {choice}: {error}", fix="see its parameters with `qbench list`"
        ) from error


def place_data(named: str) -> None:
    """Take `NAME=PATH`: where a data set's files lie, for this process and every worker that it starts.

    Raises:
        BadParameter: it is not of that form, or the data set is made and read from no file.
        UnknownName: there is no such data set.
        BadFile: there is nothing at the path, or not the data set's files.
    """
    name, _, path = named.partition("=")
    if not name or not path:
        raise BadParameter(f"--data {named!r} is no NAME=PATH", fix="write --data cifar10=PATH")
    if DATASETS[name].content is Dataset.content:
        from_files = [each for each in DATASETS if DATASETS[each].content is not Dataset.content]
        raise BadParameter(
            f"--data {named}: the data set {name} is made by qbench and read from no file",
            fix=f"name one that is read from files: {', '.join(from_files)}",
        )
    if not Path(path).expanduser().exists():
        raise BadFile(f"--data {named}: there is no {path}", fix="name the folder that holds the data set")
    os.environ[data_variable(name)] = str(Path(path).expanduser().absolute())
    DATASETS[name]().content()  # looked at now: a wrong folder is no reason to skip every cell


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put the place in a suite in front of what is wrong with a name or a parameter there."""
    try:
        yield
    except (UnknownName, BadParameter) as error:
        kind: type[QbenchError] = type(error)
        raise kind(f"{place}: {error.problem}", fix=error.fix) from error


def _words(hint: Any) -> str:
    return " or ".join(map(repr, get_args(hint))) or getattr(hint, "__name__", str(hint))


def _example(hint: Any) -> str:
    examples = {int: "8", float: "0.5", bool: "true", str: '"text"'}
    return " or ".join(json.dumps(value) for value in get_args(hint)) or examples.get(hint, str(hint))
