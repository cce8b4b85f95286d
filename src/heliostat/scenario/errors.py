"""What is wrong with a scenario: each problem with its place, and the error that tells them all."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from heliostat.units import quote

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a scenario."""

    where: str
    """``file:line``, or the override as ``--set surface.rows=0``."""
    field: str
    """Dotted key, e.g. ``surface.rows`` or ``surfaces.1.rows``, entries of lists counted from 0;
    empty where the file as a whole is meant."""
    value: str
    """The value as it was written, shortened if long; empty where there is none."""
    sentence: str
    """What is wrong, and what to write instead."""

    def __str__(self) -> str:
        if not self.field or self.where.startswith(f"--set {self.field}="):
            return f"{self.where}: {self.sentence}"
        return f"{self.where}: {self.field}: {self.sentence}"


class ScenarioError(ValueError):
    """A scenario cannot be used; the message has one line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Clash(NamedTuple):
    """Fields that are sound one by one, but not together."""

    field: str  # the one to change
    others: tuple[str, ...]  # what else it was judged by
    sentence: str


class ClashError(ValueError):
    """Carries clashes through pydantic, which knows errors of single fields only."""

    def __init__(self, clashes: list[Clash]) -> None:
        super().__init__("; ".join(f"{clash.field}: {clash.sentence}" for clash in clashes))
        self.clashes = clashes


@dataclass
class Report:
    """Where the parts of a scenario were written, and all that is found wrong with them."""

    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)
    found: list[tuple[int, Problem]] = field(default_factory=list)

    def refuse(self, path: KeyPath, sentence: str, value: str = "", line: int = 0) -> None:
        """Note a problem with what was written at a path; its place follows unless a line is given.

        Args:
            path: Of the field, empty for the file as a whole.
            sentence: What is wrong, and what to write instead.
            value: What was written, as messages show it.
            line: Where, if not where the path was first written.
        """
        rank, where = (line, f"{self.file}:{line}") if line else self._locate(path)
        self.found.append((rank, Problem(where, dotted(path), value, sentence)))

    def _locate(self, path: KeyPath) -> tuple[int, str]:
        """A rank to sort by, overrides last, and the place as text."""
        for rank, (key, label) in enumerate(self.overrides.items()):
            at_or_above = path[: len(key)] == key
            # One below counts where it made the path, or changed an entry of the list there.
            if at_or_above or (
                key[: len(path)] == path
                and (path not in self.lines or isinstance(key[len(path)], int))
            ):
                return 10**9 + rank, label
        for length in range(len(path), -1, -1):
            if line := self.lines.get(path[:length]):
                return line, f"{self.file}:{line}"
        return 0, self.file

    def error(self) -> ScenarioError:
        """All problems, in the order of the file."""
        return ScenarioError(problem for _, problem in sorted(self.found, key=lambda x: x[0]))


def printable(value: object) -> str:
    """Text as it is where it can be printed, else quoted like any other value."""
    return value if isinstance(value, str) and value.isprintable() else quote(value)


def dotted(path: KeyPath) -> str:
    """A path as one writes it, ``surface.rows`` or ``surfaces.1.rows``."""
    return printable(".".join(str(part) for part in path))


def undotted(field: str) -> KeyPath:
    """The path of a field of a model, entries of lists by their index."""
    return tuple(int(part) if part.isdigit() else part for part in field.split("."))
