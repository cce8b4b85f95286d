"""`stored_jit`: like ``jax.jit``, but a program that was traced once is kept for later processes.

JAX keeps what XLA compiles, see `compilation`, but traces and lowers each function anew in every
process, which takes most of the time of a short command. Here the lowered program is kept as well,
by ``jax.export``, beside JAX's compiled programs. It is found again by the function, the shapes and
types of its arguments, the versions of the packages that build it, the settings of JAX that change
what is traced, and the source of heliostat. A program with a function of the user, such as a law of
path loss, is not kept: its source may change.
"""

import functools
import hashlib
import inspect
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax import export
from jax.tree_util import PyTreeDef

R = TypeVar("R")
ARRAYS = jax.Array | np.ndarray | np.generic
PACKAGES = "jax", "jaxlib", "equinox", "optimistix"
"""Packages whose code is traced."""
SETTINGS = (
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)
"""Settings of JAX on which a traced program depends."""
UNUSED_DAYS = 14
"""Programs of another source of heliostat are deleted when unused for so many days."""
enabled = True
"""Whether programs are kept. The tests, which check shapes while a function is traced, do not."""


QUICK_COMPILATION: dict[str, bool | int | str] = {"xla_cpu_use_fusion_emitters": False}
"""XLA's older emitters of fusions take half of the time to compile a program. Programs over many
points run several times slower with them, others equally fast. JAX 0.11 no longer has the option;
it is removed from here by the first program that is compiled."""


def stored_jit(function: Callable[..., R], *, large: bool = False) -> Callable[..., R]:
    """Compile a function, and keep the traced program for later processes.

    Arrays among the arguments, also inside of pytrees, are traced; everything else is static, so
    that Python numbers lead to a program for each value. Results are arrays in a pytree. Inside of
    another transformation the function is traced as by ``jax.jit``.

    Args:
        function: A pure function at the top level of a module.
        large: Whether the function computes many points, so that its run time counts more than the
            time to compile it.
    """
    programs: dict[tuple[Any, ...], Callable[..., R]] = {}
    signature = inspect.signature(function)

    def merged(static: _Static, *leaves: jax.Array) -> R:
        return function(*static.merge(leaves))

    merged.__name__ = function.__name__  # in JAX's messages
    compile_alone = jax.jit if large else _quickly_compiled
    compiled = compile_alone(merged, static_argnums=0)
    nested = jax.jit(merged, static_argnums=0)  # as part of another program, without options

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        given = signature.bind(*args, **kwargs).args if kwargs else args
        leaves, structure = jax.tree.flatten(given)
        traced = [leaf for leaf in leaves if isinstance(leaf, ARRAYS)]
        static = _Static(structure, leaves)
        folder = _folder()
        if any(isinstance(leaf, jax.core.Tracer) for leaf in traced):
            return nested(static, *traced)
        if folder is None:
            return compiled(static, *traced)
        types = tuple((np.shape(leaf), leaf.dtype, _weak(leaf)) for leaf in traced)
        key = static, types, folder
        if key not in programs:
            program = _stored(function, functools.partial(nested, static), static, types, folder)
            programs[key] = (
                compile_alone(program) if program else functools.partial(compiled, static)
            )
        return programs[key](*traced)

    return call


def _quickly_compiled(function: Callable[..., R], **arguments: Any) -> Callable[..., R]:
    """``jax.jit`` with `QUICK_COMPILATION`, and without it where XLA does not have the option."""
    quick = jax.jit(function, compiler_options=dict(QUICK_COMPILATION), **arguments)
    plain = jax.jit(function, **arguments)

    def call(*args: Any) -> R:
        if QUICK_COMPILATION:
            try:
                return quick(*args)
            except jax.errors.JaxRuntimeError as error:
                if "No such compile option" not in str(error):
                    raise
                QUICK_COMPILATION.clear()
        return plain(*args)

    return call


class _Static:
    """What is not an array among the arguments of a function, and how they are nested."""

    def __init__(self, structure: PyTreeDef, leaves: list[Any]) -> None:
        self.structure = structure
        self.rest = tuple(None if isinstance(leaf, ARRAYS) else leaf for leaf in leaves)

    def merge(self, traced: tuple[jax.Array, ...]) -> Any:
        """The arguments."""
        arrays = iter(traced)
        leaves = [next(arrays) if leaf is None else leaf for leaf in self.rest]
        return jax.tree.unflatten(self.structure, leaves)

    def parts(self) -> Iterator[Any]:
        """Everything that is not an array, the static fields of modules included."""
        yield from self.rest
        nodes = [self.structure]
        for node in nodes:  # grows meanwhile
            data = node.node_data()
            if data is not None and isinstance(data[1], tuple):
                yield from data[1]
            nodes += node.children()

    def __hash__(self) -> int:
        return hash((self.structure, self.rest))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Static)
            and (self.structure, self.rest) == (other.structure, other.rest)
            and all(type(a) is type(b) for a, b in zip(self.rest, other.rest, strict=True))
        )

    def __repr__(self) -> str:
        return f"{self.structure} {self.rest}"


def _stored(
    function: Callable[..., Any],
    compiled: Callable[..., Any],
    static: _Static,
    types: tuple[Any, ...],
    folder: Path,
) -> Callable[..., Any] | None:
    """Return the program for arguments of these types, from the folder if it is there.

    None if the program cannot be exported; the caller then uses ``jax.jit``.
    """
    described = f"{function.__module__}.{function.__qualname__} {static} {types}"
    for part in static.parts():
        if callable(part) and not isinstance(part, type):
            if (name := _own_name(part)) is None:
                return None
            described = described.replace(repr(part), name)
    if " at 0x" in described:  # an object that another process could not recognize
        return None
    file = folder / hashlib.sha256(described.encode()).hexdigest()
    kept = _read(file)
    if kept is None:
        struct: Callable[..., Any] = jax.ShapeDtypeStruct
        leaves = [struct(shape, dtype, weak_type=weak) for shape, dtype, weak in types]
        nested: list[Any] = []

        def flat(*leaves: jax.Array) -> list[jax.Array]:
            found, structure = jax.tree.flatten(compiled(*leaves))
            nested.append(jax.tree.unflatten(structure, range(len(found))))
            return found

        try:
            exported = export.export(jax.jit(flat))(*leaves)
            _write(file, pickle.dumps((bytes(exported.serialize()), nested[0])))
        except (ValueError, NotImplementedError, pickle.PicklingError, OSError):
            return None
        kept = exported, nested[0]
    exported, result = kept
    structure = jax.tree.structure(result)
    program: Callable[..., Any] = exported.call

    def called(*leaves: jax.Array) -> Any:
        return jax.tree.unflatten(structure, program(*leaves))

    called.__name__ = function.__name__  # in JAX's messages
    return called


def _own_name(part: Callable[..., Any]) -> str | None:
    """Name of a function at the top level of a module of heliostat; None for anything else.

    The folder of the programs is for one source of heliostat; that of other functions may change.
    """
    own = inspect.isfunction(part) and part.__module__.partition(".")[0] == __package__
    return (
        f"{part.__module__}.{part.__name__}" if own and part.__qualname__.isidentifier() else None
    )


def _read(file: Path) -> tuple[export.Exported, Any] | None:
    """Return the program in a file; None if there is none or the file is damaged."""
    try:
        program, result = pickle.loads(file.read_bytes())
        return export.deserialize(bytearray(program)), result
    except FileNotFoundError:
        return None
    except Exception:  # whatever a damaged file leads to
        with suppress(OSError):
            file.unlink()
        return None


def _write(file: Path, content: bytes) -> None:
    """Write a file so that another process never reads a part of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(name, file)
    except OSError:  # such as a full disk
        Path(name).unlink(missing_ok=True)
        raise


def _weak(leaf: Any) -> bool:
    return bool(getattr(leaf, "weak_type", False))


def _folder() -> Path | None:
    """Folder of the programs of this source and this JAX; None if programs are not kept."""
    root = jax.config.values["jax_compilation_cache_dir"]
    if not (enabled and root):
        return None
    return _folder_in(root, tuple(str(getattr(jax.config, name)) for name in SETTINGS))


@functools.cache
def _folder_in(root: str, settings: tuple[str, ...]) -> Path | None:
    parent = Path(root) / "traced"
    if not parent.is_absolute() or _source() != SOURCE:
        return None
    digest = hashlib.sha256(" ".join(map(version, PACKAGES)).encode())
    digest.update(f"{jax.default_backend()} {settings}".encode())
    digest.update(SOURCE)
    folder = parent / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for other in parent.iterdir():
            if time.time() - other.stat().st_mtime > UNUSED_DAYS * 86400:
                shutil.rmtree(other, ignore_errors=True)
    except OSError:
        return None
    return folder


def _source() -> bytes:
    """Digest of the source of heliostat."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.digest()


SOURCE = _source()
"""Source when it was imported. If it has changed since, what is traced is not what is on disk."""
