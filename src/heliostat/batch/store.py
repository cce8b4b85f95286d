"""Results on disk: what is there survives whatever ends the run.

A folder holds ``study.zarr``, one array of Zarr (https://zarr-specs.readthedocs.io/en/latest/v3/)
over axes, trials and columns: one chunk is one block, written whole, with a checksum, in one step
after all else. That a chunk is there and reads back means that its block is done; nothing else is
kept in mind. Remarks on trials are lines of ``remarks.jsonl``, to which the last column points.
One process writes, and holds ``lock`` as long as it lives; others are refused.
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

from heliostat._version import __version__
from heliostat.interruption import on_interruption
from heliostat.provenance import commit
from heliostat.studies.study import FINE, Block, Outcome, Remark, Study

FORMAT = 1
"""Version of what is on disk."""

ARRAY, REMARKS, LOCK = "study.zarr", "remarks.jsonl", "lock"


class StoreError(ValueError):
    """A store cannot be used; the message tells what to do instead."""


class Stock(NamedTuple):
    """What a store holds of some blocks."""

    missing: list[Block]
    damaged: list[Block]
    """They are there, but cannot be read back."""
    remarks: Counter[Remark]
    """On the trials of all others."""


class Store:
    """The results of one study in a folder, open to be written or only read."""

    def __init__(self, folder: Path, array: zarr.Array[Any]) -> None:
        self._folder = folder
        self._array = array
        self._said = [FINE, *_read_remarks(folder / REMARKS)]
        self._codes = {remark: code for code, remark in enumerate(self._said) if remark}

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was asked for and where it was computed: see `opened`."""
        return dict(self._array.attrs)

    @property
    def chunk(self) -> int:
        """Trials in a block."""
        return int(self._array.chunks[-2])

    def take_stock(self, blocks: list[Block]) -> "Stock":
        """What is there, every chunk read back.

        Args:
            blocks: Of the study, of `chunk` trials each.
        """
        stock = Stock([], [], Counter())
        for block in blocks:
            if not self._file(block).exists():
                stock.missing.append(block)
                continue
            try:
                rows = np.asarray(self._array[self._place(block)])
            except (ValueError, RuntimeError):  # its checksum does not fit
                stock.damaged.append(block)
                continue
            said = self._remarks_of(rows[:, -1])
            if np.isnan(rows).any():  # it was the last one of fewer trials
                stock.missing.append(block)
            elif None in said:
                stock.damaged.append(block)
            else:
                stock.remarks.update(remark for remark in said if remark)
        return stock

    def grow(self, trials: int) -> None:
        """Make room for more trials at every point.

        Args:
            trials: At each, as many as there are or more.
        """
        *axes, there, columns = self._array.shape
        if trials > there:
            self._array.resize((*axes, trials, columns))

    def write(self, block: Block, outcome: Outcome) -> None:
        """Put a block in place.

        Args:
            block: Which.
            outcome: What came of it.

        Raises:
            StoreError: It cannot be written; what is there stays as it is.
        """
        try:
            codes = [self._code(remark) for remark in outcome.remarks]
            self._array[self._place(block)] = np.column_stack([outcome.values, codes])
        except OSError as error:
            raise _unwritable(self._folder, error) from None

    def note(self, facts: Mapping[str, Any]) -> None:
        """Keep more facts.

        Args:
            facts: By name; they replace what had the same name.

        Raises:
            StoreError: They cannot be written.
        """
        try:
            self._array.update_attributes(dict(facts))
        except OSError as error:
            raise _unwritable(self._folder, error) from None

    def values(self) -> np.ndarray:
        """All outputs, [point, trial, column]; NaN where nothing was computed yet."""
        return self._all()[..., :-1]

    def remarks(self) -> list[list[Remark | None]]:
        """What is to be said of every trial, [point][trial]; None where it was not computed yet."""
        return [self._remarks_of(row) for row in self._all()[..., -1]]

    def _remarks_of(self, codes: np.ndarray) -> list[Remark | None]:
        """What codes stand for; None where they stand for nothing."""
        known = np.isin(codes, np.arange(len(self._said)))
        return [
            self._said[int(code)] if is_known else None
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
        """The remark's line, counted from 1; 0 for none."""
        if remark not in self._codes:
            with (self._folder / REMARKS).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(remark) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
            self._codes[remark] = len(self._said)
            self._said.append(remark)
        return self._codes[remark]


def _read_remarks(file: Path) -> list[Remark | None]:
    """Remarks line by line, None for one that cannot be read.

    A last line that a killed process left unfinished is cut off.
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
        f"--out {folder}: cannot be written ({error.strerror or error}); what is stored there is "
        "kept: make room or give another folder, and the same command goes on."
    )


@contextmanager
def opened(
    folder: Path,
    study: Study,
    asked: Mapping[str, str],
    *,
    trials: int,
    chunk: Callable[[], int],
    fresh: bool = False,
) -> Iterator[Store]:
    """A study's store, made if there is none, locked against others as long as the body runs.

    Its attributes keep what was asked, a hash of that, and every run: when, and by which version
    and commit of heliostat.

    Args:
        folder: Where it is, or will be.
        study: What is to be computed.
        asked: Texts that decide about every number: study, scenario, seed and the like.
        trials: At each point.
        chunk: Tells how many trials go into a block, where there is no store yet.
        fresh: Throw away what is there.

    Raises:
        StoreError: The folder cannot be written, another run is at work in it, or it holds results
            of something else, or such as cannot be read.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        store = _store(folder, study, asked, trials, chunk, fresh)
    except Timeout:
        raise StoreError(
            f"--out {folder}: another run is at work there; wait for its end, or give another "
            "folder."
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


def _store(
    folder: Path,
    study: Study,
    asked: Mapping[str, str],
    trials: int,
    chunk: Callable[[], int],
    fresh: bool,
) -> Store:
    """The store in a locked folder, old or new."""
    for litter in folder.glob(f".{ARRAY}-*"):  # of a process that was killed
        shutil.rmtree(litter, ignore_errors=True)
    for torn in (folder / ARRAY).rglob("*.partial"):
        torn.unlink(missing_ok=True)
    if fresh:
        _throw_away(folder)
    if not (folder / ARRAY).exists():
        _make(folder, study, asked, trials, chunk())
    store = Store(folder, _array(folder))
    facts = store.facts
    if facts.get("format") != FORMAT:
        raise StoreError(
            f"--out {folder}: its format is {facts.get('format')}, this heliostat writes {FORMAT}; "
            "give another folder, or --fresh to throw away what is there."
        )
    there = dict(facts["asked"])
    if there.get("trials", "").isdigit() and int(there["trials"]) < trials:
        there["trials"] = asked["trials"]  # trial by trial the same: what is there stays
    if told := _differences(there, asked):
        raise StoreError(
            f"--out {folder}: holds results of something else; {told}. Give another folder, or "
            "--fresh to throw away what is there."
        )
    run = {
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "heliostat_version": __version__,
        "commit": commit(),
    }
    store.note({"asked": dict(asked), "hash": _hash(asked), "runs": [*facts["runs"], run]})
    store.grow(trials)  # after the note: what is noted there is room for, now or in the next run
    return store


def _array(folder: Path) -> zarr.Array[Any]:
    try:
        array = zarr.open_array(folder / ARRAY, mode="r+")
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise StoreError(
            f"--out {folder}: {ARRAY} cannot be read ({error}); give another folder, or --fresh to "
            "throw away what is there."
        ) from None
    return array


def _make(folder: Path, study: Study, asked: Mapping[str, str], trials: int, chunk: int) -> None:
    """Make an empty store under another name, which it changes when it is whole."""
    lengths = [len(values) for values in study.axes.values()]
    columns = study.n_columns + 1
    shape = (*lengths, trials, columns)
    chunks = (*(1 for _ in lengths), min(chunk, trials), columns)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "study": study.name,
        "title": study.title,
        "columns": [
            f"{name}{list(study.output_shape(name)) or ''} [{quantity.unit}]"
            for name, quantity in study.outputs.items()
        ]
        + [f"line of {REMARKS}, 0 for none"],
        "asked": dict(asked),
        "hash": _hash(asked),
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
                attributes=facts,
            )
            stage.rename(folder / ARRAY)
    finally:
        remove()


def _hash(asked: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(asked), sort_keys=True).encode()).hexdigest()


def _throw_away(folder: Path) -> None:
    if (folder / ARRAY).exists():
        gone = folder / f".{ARRAY}-{os.urandom(4).hex()}"
        (folder / ARRAY).rename(gone)
        shutil.rmtree(gone)
    (folder / REMARKS).unlink(missing_ok=True)


def _differences(there: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is not the same, in a sentence; empty if all is."""
    told = []
    for name in dict.fromkeys([*there, *now]):
        old, new = there.get(name, ""), now.get(name, "")
        if old == new:
            continue
        if "\n" not in old + new:
            told.append(f"{name} was {old or 'not given'} and is {new or 'not given'}")
            continue
        diff = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
        lines = [line for line in diff if not line.startswith(("---", "+++", "@@"))]
        was = "; ".join(line[1:].strip() for line in lines if line[0] == "-")
        now_is = "; ".join(line[1:].strip() for line in lines if line[0] == "+")
        told.append(f"in the {name}, {was or 'nothing'!r} became {now_is or 'nothing'!r}")
    return ", and ".join(told)
