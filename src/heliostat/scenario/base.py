"""Base class of the scenarios of all systems."""

import html
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import PrivateAttr, model_validator

from heliostat.scenario.errors import Clash, ClashError, Report
from heliostat.scenario.fields import Section
from heliostat.scenario.validation import examine
from heliostat.scenario.yaml_reader import Overrides

if TYPE_CHECKING:
    import jaxtyping

SameSystem = TypeVar("SameSystem", bound="Scenario")


def function_name(function: Callable[..., Any]) -> str:
    """Return the name of a function, for messages."""
    return str(getattr(function, "__name__", type(function).__name__))


class Scenario(Section, ABC):
    """Validated description of a system; subclasses define its sections and its checks."""

    system: str
    _name: str = PrivateAttr("scenario")
    _folder: Path = PrivateAttr(Path())
    _path_loss: Callable[..., Any] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _fits_together(self: SameSystem, info: Any) -> SameSystem:
        context = info.context or {}
        self._name = context.get("name", self._name)
        self._folder = context.get("folder", self._folder)
        self._path_loss = context.get("path_loss", self._path_loss)
        if clashes := list(self.clashes()):
            raise ClashError(clashes)
        return self

    @property
    def name(self) -> str:
        """Name of the packaged scenario, or of the file without its suffix."""
        return self._name

    @property
    def folder(self) -> Path:
        """Folder of the file, in which other files named in it are looked for first."""
        return self._folder

    @property
    def path_loss(self) -> Callable[..., Any] | None:
        """Path-loss law passed to `load`, None without one; localization only."""
        return self._path_loss

    @abstractmethod
    def clashes(self) -> Iterator[Clash]:
        """Violated conditions that involve several fields."""

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Warnings about model assumptions that hold only approximately, one sentence each."""
        return tuple(self._warnings())

    @abstractmethod
    def _warnings(self) -> list[str]:
        """Warnings for `notes`, one sentence for each violated assumption."""

    @abstractmethod
    def build(self, key: "jaxtyping.PRNGKeyArray | None" = None) -> Any:
        """Build the scene that the equations use."""

    def updated(self: SameSystem, overrides: Overrides) -> SameSystem:
        """Return a checked copy with some values replaced.

        Args:
            overrides: Values by dotted key, as for `load`.

        Raises:
            ScenarioError: The result is not a valid scenario.
        """
        replaced = not {"link", "link.path_loss"}.isdisjoint(overrides)
        return self._changed(overrides, None if replaced else self._path_loss)

    def _changed(
        self: SameSystem, overrides: Overrides, path_loss: Callable[..., Any] | None
    ) -> SameSystem:
        """Return a checked copy with some values and the path-loss law replaced."""
        context = {"name": self.name, "folder": self.folder, "path_loss": path_loss}
        systems = {self.system: type(self)}
        return examine(self._written(), overrides, Report(self.name), systems, context)

    def dump(self) -> str:
        """Return the scenario as YAML with all defaults; reading it gives the same numbers.

        With a path-loss law of one's own the text names the function, and reading it is refused.
        """
        written = self._written()
        if self._path_loss is not None:
            written["link"]["path_loss"] = f"function {function_name(self._path_loss)}"
        return yaml.safe_dump(
            written, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True
        )

    def __dir__(self) -> Iterable[str]:
        own = ("name", "folder", "notes", "build", "updated", "dump")
        return sorted({*type(self).model_fields, *own})

    def __repr__(self) -> str:
        return f"<{self.system} scenario {self.name!r}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(self.name)}</b><pre>{html.escape(self.dump())}</pre>"

    def _written(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)
