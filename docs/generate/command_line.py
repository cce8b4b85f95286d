"""Description of all commands in Markdown, from the help texts of the command line."""

import inspect
import re
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from heliostat.cli import app


class Parameter(NamedTuple):
    """One argument or option."""

    name: str
    info: Any
    annotation: Any
    default: Any

    @property
    def is_argument(self) -> bool:
        """Whether it is an argument, not an option."""
        return isinstance(self.info, ArgumentInfo)

    @property
    def shown(self) -> str:
        """As it is typed."""
        if self.is_argument:
            return self.name.upper() + ("..." if get_origin(self.annotation) is list else "")
        # In an annotation, Typer keeps the first name of an option in the place of its default.
        written = (self.info.default, *(self.info.param_decls or ()))
        names = [n for n in written if isinstance(n, str)] or [f"--{self.name.replace('_', '-')}"]
        value = "" if self.annotation is bool else f" {self.info.metavar or _type(self.annotation)}"
        return ", ".join(names) + value


def command_line() -> str:
    """Return a section for each command: use, arguments, options, example."""
    return "\n".join(line for command in commands() for line in _described(*command))


def commands() -> Iterator[tuple[str, Callable[..., None]]]:
    """Name and function of each command, in the order of ``heliostat --help``."""
    for command in app.registered_commands:
        assert command.callback is not None
        yield command.name or command.callback.__name__, command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            yield f"{group.name} {command.name or command.callback.__name__}", command.callback


def parameters(function: Callable[..., None]) -> list[Parameter]:
    """Arguments and options of a command.

    Args:
        function: Function of the command.
    """
    hints = get_type_hints(function, include_extras=True)
    return [
        Parameter(name, *_split(hints[name]), parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
    ]


def _split(hint: Any) -> tuple[Any, Any]:
    """The description by Typer, and the type without None."""
    if get_origin(hint) is not Annotated:  # Python wraps a type with the default None
        hint = next(part for part in get_args(hint) if get_origin(part) is Annotated)
    inner, info = get_args(hint)
    assert isinstance(info, ArgumentInfo | OptionInfo)
    if get_origin(inner) in (Union, types.UnionType):
        inner = next(part for part in get_args(inner) if part is not type(None))
    return info, inner


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if get_origin(annotation) is list:
        return _type(get_args(annotation)[0])
    return {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}[annotation]


def _described(name: str, function: Callable[..., None]) -> list[str]:
    text, _, example = inspect.cleandoc(function.__doc__ or "").partition("Example: ")
    every = parameters(function)
    arguments = [each for each in every if each.is_argument]
    options = [each for each in every if not each.is_argument]
    use = ["heliostat", name, *(_placeholder(each) for each in arguments)]
    lines = [f"## heliostat {name}", "", "```text", " ".join([*use, "[OPTIONS]"]), "```", ""]
    lines += [text.strip(), ""]
    if example:
        lines += ["```text", textwrap.dedent(example).strip(), "```", ""]
    lines += _table("argument", arguments)
    panels = dict.fromkeys(each.info.rich_help_panel for each in options)
    for panel in panels:
        if panel:
            lines += [f"{panel}:", ""]
        lines += _table("option", [o for o in options if o.info.rich_help_panel == panel])
    return lines


def _placeholder(argument: Parameter) -> str:
    required = argument.default is inspect.Parameter.empty
    return argument.shown if required else f"[{argument.shown}]"


def _table(kind: str, listed: list[Parameter]) -> list[str]:
    if not listed:
        return []
    rows = [f"| {kind} | meaning | default |", "|---|---|---|"]
    for each in listed:
        if each.default is inspect.Parameter.empty:
            default = "required"
        else:
            default = "" if each.default in (None, False) else f"`{each.default}`"
        shown = each.shown.replace("|", "\\|")
        rows.append(f"| `{shown}` | {_escaped(each.info.help or '')} | {default} |")
    return [*rows, ""]


def _escaped(text: str) -> str:
    return re.sub(r"([|*\[<])", r"\\\1", text)
