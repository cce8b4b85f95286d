"""Storage of a study's results that survives the end of a run at any moment.

A folder holds ``study.zarr``, one Zarr array (https://zarr-specs.readthedocs.io/en/latest/v3/)
over axes, trials and columns. One chunk is one block; it is written with a checksum and moved into
place in one step. A chunk that passes its checksum marks its block as complete; there is no other
state. The last column holds line numbers of ``remarks.jsonl``, which has the remarks on trials.
One process writes, and holds ``lock`` as long as it runs; others are refused.
"""

import difflib
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from filelock import FileLock, Timeout
from zarr.codecs import Crc32cCodec, ZstdCodec

from heliostat.interruption import on_interruption
from heliostat.provenance import software
from heliostat.studies.study import FINE, Block, Outcome, Remark, Study

FORMAT = 1
"""Version of the storage format."""

ARRAY, REMARKS, LOCK = "study.zarr", "remarks.jsonl", "lock"


class StoreError(ValueError):
    """Raised if a store cannot be used; the message contains a remedy."""


class StoreStatus(NamedTuple):
    """Blocks that a store lacks, and remarks on those that it has."""

    missing: list[Block]
    damaged: list[Block]
    """Blocks that are stored but cannot be read back."""
    remarks: Counter[Remark]
    """Remarks on the trials of all other blocks."""


class Store:
    """Results of one study in a folder; see `open_store`."""

    def __init__(self, folder: Path, array: zarr.Array[Any]) -> None:
        self._folder = folder
        self._array = array
        self._remarks = [FINE, *_read_remarks(folder / REMARKS)]
        self._codes = {remark: code for code, remark in enumerate(self._remarks) if remark}

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Identity of the study, and its runs; see `open_store`."""
        return dict(self._array.attrs)

    @property
    def chunk(self) -> int:
        """Number of trials in a block."""
        return int(self._array.chunks[-2])

    def status(self, blocks: list[Block]) -> StoreStatus:
        """Read every chunk and report which blocks are missing.

        Args:
            blocks: All blocks of the study, of `chunk` trials each.
        """
        status = StoreStatus([], [], Counter())
        for block in blocks:
            if not self._file(block).exists():
                status.missing.append(block)
                continue
            try:
                rows = np.asarray(self._array[self._place(block)])
            except (ValueError, RuntimeError):  # the checksum does not match
                status.damaged.append(block)
                continue
            remarks = self._decode(rows[:, -1])
            if np.isnan(rows).any():  # it was the shorter last block of fewer trials
                status.missing.append(block)
            elif None in remarks:
                status.damaged.append(block)
            else:
                status.remarks.update(remark for remark in remarks if remark)
        return status

    def extend_trials(self, trials: int) -> None:
        """Make room for more trials at every point.

        Args:
            trials: Number of trials per point, at least as many as there are.
        """
        *axes, there, columns = self._array.shape
        if trials > there:
            self._array.resize((*axes, trials, columns))

    def write(self, block: Block, outcome: Outcome) -> None:
        """Store a block.

        Args:
            block: Point and trials.
            outcome: Results and remarks.

        Raises:
            StoreError: It cannot be written; other blocks stay as they are.
        """
        try:
            codes = [self._code(remark) for remark in outcome.remarks]
            self._array[self._place(block)] = np.column_stack([outcome.values, codes])
        except OSError as error:
            raise _unwritable(self._folder, error) from None

    def update_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Add or replace attributes.

        Args:
            attributes: Plain data, by name.

        Raises:
            StoreError: They cannot be written.
        """
        try:
            self._array.update_attributes(dict(attributes))
        except OSError as error:
            raise _unwritable(self._folder, error) from None

    def values(self) -> np.ndarray:
        """Return all outputs, [point, trial, column]; NaN where trials are missing."""
        return self._all()[..., :-1]

    def remarks(self) -> list[list[Remark | None]]:
        """Return the remark on every trial, [point][trial]; None where trials are missing."""
        return [self._decode(row) for row in self._all()[..., -1]]

    def _decode(self, codes: np.ndarray) -> list[Remark | None]:
        """Remarks of the given codes; None for a code that has no remark."""
        known = np.isin(codes, np.arange(len(self._remarks)))
        return [
            self._remarks[int(code)] if is_known else None
            for code, is_known in zip(codes, known, strict=True)
        ]

    def _all(self) -> np.ndarray:
        *axes, trials, columns = self._array.shape
        return np.asarray(self._array[...]).reshape(int(np.prod(axes)), trials, columns)

    def _place(self, block: Block) -> tuple[Any, ...]:
        point = np.unravel_index(block.point, self._array.shape[:-2])
        return (*map(int, point), slice(block.first, block.first + block.size), slice(None))

    def _file(self, block: Block) -> Path:
        point = np.unravel_index(block.point, self._array.shape[:-2])
        place = (*map(int, point), block.first // self.chunk, 0)
        return self._folder / ARRAY / self._array.metadata.encode_chunk_key(place)

    def _code(self, remark: Remark) -> int:
        """Line number of a remark, from 1; 0 for an empty remark. A new remark is appended."""
        if remark not in self._codes:
            with (self._folder / REMARKS).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(remark) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
            self._codes[remark] = len(self._remarks)
            self._remarks.append(remark)
        return self._codes[remark]


def _read_remarks(file: Path) -> list[Remark | None]:
    """Read one remark per line, None for a line that is not valid.

    An unfinished last line, left by a process that was killed, is removed.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return []
    whole, end, torn = data.rpartition(b"\n")
    if torn:
        with file.open("r+b") as lines:
            lines.truncate(len(whole) + len(end))
    remarks: list[Remark | None] = []
    for line in whole.split(b"\n") if end else []:
        try:
            failed, text = json.loads(line)
            remarks.append(Remark(bool(failed), str(text)))
        except (ValueError, TypeError):
            remarks.append(None)
    return remarks


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"--out {folder}: cannot be written ({error.strerror or error}); stored results are kept. "
        "Free disk space or give another folder, then repeat the command to continue."
    )


@contextmanager
def open_store(
    folder: Path,
    study: Study,
    identity: Mapping[str, str],
    *,
    trials: int,
    chunk: Callable[[], int],
    fresh: bool = False,
) -> Iterator[Store]:
    """Open the store of a study, or create it, and lock it while the context lasts.

    Its attributes hold the identity, a hash of it, and for every run the time, version and commit.

    Args:
        folder: Folder of the store.
        study: Study whose results it holds.
        identity: Texts that determine every result, see `Plan.identity`.
        trials: Number of trials per point.
        chunk: Returns the number of trials in a block; called only for a new store.
        fresh: Delete results that are there.

    Raises:
        StoreError: The folder cannot be written, another run uses it, it holds results of another
            study, or it cannot be read.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        store = _open_locked(folder, study, identity, trials, chunk, fresh)
    except Timeout:
        raise StoreError(
            f"--out {folder}: another run uses it; wait for its end, or give another folder."
        ) from None
    except OSError as error:
        lock.release()
        raise _unwritable(folder, error) from None
    except BaseException:
        lock.release()
        raise
    try:
        yield store
    finally:
        lock.release()


def _open_locked(
    folder: Path,
    study: Study,
    identity: Mapping[str, str],
    trials: int,
    chunk: Callable[[], int],
    fresh: bool,
) -> Store:
    for leftover in folder.glob(f".{ARRAY}-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    for partial in (folder / ARRAY).rglob("*.partial"):
        partial.unlink(missing_ok=True)
    if fresh:
        _delete_results(folder)
    if not (folder / ARRAY).exists():
        _create(folder, study, identity, trials, chunk())
    store = Store(folder, _array(folder))
    attributes = store.attributes
    if attributes.get("format") != FORMAT:
        raise StoreError(
            f"--out {folder}: its format is {attributes.get('format')}, this heliostat writes "
            f"{FORMAT}; give another folder, or --fresh to delete its results."
        )
    stored = dict(attributes["asked"])
    if stored.get("trials", "").isdigit() and int(stored["trials"]) < trials:
        stored["trials"] = identity["trials"]  # stored trials are the first of the larger number
    if differences := _differences(stored, identity):
        raise StoreError(
            f"--out {folder}: holds results of another study; {differences}. Give another folder, "
            "or --fresh to delete its results."
        )
    run = {"begun": datetime.now(UTC).isoformat(timespec="seconds")} | software()
    runs = [*attributes["runs"], run]
    store.update_attributes({"asked": dict(identity), "hash": _hash(identity), "runs": runs})
    store.extend_trials(trials)  # last: a run killed before it is repaired by the next
    return store


def _array(folder: Path) -> zarr.Array[Any]:
    try:
        return zarr.open_array(folder / ARRAY, mode="r+")
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise StoreError(
            f"--out {folder}: {ARRAY} cannot be read ({error}); give another folder, or --fresh to "
            "delete its results."
        ) from None


def _create(
    folder: Path, study: Study, identity: Mapping[str, str], trials: int, chunk: int
) -> None:
    """Create an empty store under a temporary name, then rename it."""
    lengths = [len(values) for values in study.axes.values()]
    columns = study.n_columns + 1
    shape = (*lengths, trials, columns)
    chunks = (*(1 for _ in lengths), min(chunk, trials), columns)
    attributes: dict[str, Any] = {
        "format": FORMAT,
        "study": study.name,
        "title": study.title,
        "columns": [
            f"{name}{list(study.output_shape(name)) or ''} [{quantity.unit}]"
            for name, quantity in study.outputs.items()
        ]
        + [f"line of {REMARKS}, 0 for none"],
        "asked": dict(identity),  # its name in format 1
        "hash": _hash(identity),
        "runs": [],
    }
    stage = folder / f".{ARRAY}-{os.urandom(4).hex()}"

    def remove() -> None:
        shutil.rmtree(stage, ignore_errors=True)

    try:
        with on_interruption(remove):
            zarr.create_array(
                stage,
                shape=shape,
                chunks=chunks,
                dtype="float64",
                fill_value=np.nan,
                compressors=[ZstdCodec(), Crc32cCodec()],
                dimension_names=[*study.axes, "trial", "column"],
                attributes=attributes,
            )
            stage.rename(folder / ARRAY)
    finally:
        remove()


def _hash(identity: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


def _delete_results(folder: Path) -> None:
    if (folder / ARRAY).exists():
        renamed = folder / f".{ARRAY}-{os.urandom(4).hex()}"
        (folder / ARRAY).rename(renamed)
        shutil.rmtree(renamed)
    (folder / REMARKS).unlink(missing_ok=True)


def _differences(stored: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Differences between two identities, as a sentence; empty if there are none."""
    sentences = []
    for name in dict.fromkeys([*stored, *new]):
        old_text, new_text = stored.get(name, ""), new.get(name, "")
        if old_text == new_text:
            continue
        if "\n" not in old_text + new_text:
            sentences.append(
                f"{name} was {old_text or 'not given'} and is {new_text or 'not given'}"
            )
            continue
        diff = difflib.unified_diff(old_text.splitlines(), new_text.splitlines(), n=0, lineterm="")
        lines = [line for line in diff if not line.startswith(("---", "+++", "@@"))]
        was = "; ".join(line[1:].strip() for line in lines if line[0] == "-")
        is_now = "; ".join(line[1:].strip() for line in lines if line[0] == "+")
        sentences.append(f"in the {name}, {was or 'nothing'!r} became {is_now or 'nothing'!r}")
    return ", and ".join(sentences)
