"""Names to plug-ins. One Registry per kind; nothing else in qbench maps a string to a class.

A leaf is found by scanning its package, a stranger's by the entry-point group of the same name. A file
that fails to import does not take the program down: it is kept in `failures` with its reason, and
`qbench list` and `qbench doctor` show it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from qbench.errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """The plug-ins of one kind, by name, found when first asked for."""

    def __init__(self, kind: str, package: str) -> None:
        """`package` is both the folder that is scanned and the entry-point group."""
        self.kind = kind
        self.package = package
        self.failures: dict[str, str] = {}
        self._items: dict[str, T] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that gives its class this name."""

        def add(item: T) -> T:
            if name in self._items:
                raise ValueError(f"two plug-ins both register the {self.kind} {name!r}")
            self._items[name] = item
            return item

        return add

    def __getitem__(self, name: str) -> T:
        """Return the plug-in of this name.

        Raises:
            UnknownName: there is none; the message offers the nearest name and lists them all.
        """
        self._scan()
        if name in self._items:
            return self._items[name]
        if name in self.failures:
            raise UnknownName(
                f"the {self.kind} {name!r} is here but cannot be loaded: {self.failures[name]}",
                fix="mend or remove its file; `qbench doctor` says where each problem is",
            )
        raise UnknownName(f"no {self.kind} is called {name!r}", fix=did_you_mean(name, self))

    def __iter__(self) -> Iterator[str]:
        """Yield the names in alphabetical order."""
        self._scan()
        return iter(sorted(self._items))

    def __contains__(self, name: object) -> bool:
        """Tell whether a plug-in of this name exists."""
        self._scan()
        return name in self._items

    def name_of(self, item: T) -> str:
        """Return the name under which `item` was registered."""
        self._scan()
        return next(name for name, known in self._items.items() if known is item)

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True  # first: a leaf may ask the registry while it is being imported
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if module.name != "base":
                self._load(module.name, partial(importlib.import_module, f"{self.package}.{module.name}"))
        for point in entry_points(group=self.package):
            self._load(point.name, point.load)

    def _load(self, name: str, load: Callable[[], object]) -> None:
        try:
            load()
        except (Exception, SystemExit) as error:  # a stranger's file may do anything; its reason is shown
            self.failures[name] = f"{type(error).__name__}: {error}"


def did_you_mean(name: str, known: Iterator[str] | Registry[T] | list[str]) -> str:
    """Return the words of a fix: the nearest known name if there is one, then all of them."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"{guess}known: {', '.join(names) or 'none'}"
