"""Programs kept for later processes. Truth: what a function prints while it is traced."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat import stored_programs
from heliostat.channel.path_loss import product, sum_distance
from heliostat.geometry.arrays import PlanarArray
from heliostat.stored_programs import stored_jit

MODULE = """
import sys
import jax.numpy as jnp
import heliostat
from heliostat.stored_programs import stored_jit

@stored_jit
def half(numbers, name, other=None):
    print("traced", name)
    return {"half": numbers["x"] / 2, "other": other}

{call}
"""
CALL = "print(half({'x': jnp.arange(3.0)}, 'a', other=jnp.ones(()))['half'].tolist())"


def printed(folder, call=CALL):
    """What a fresh process prints."""
    (folder / "toy.py").write_text(MODULE.replace("{call}", ""))
    ended = subprocess.run(
        [sys.executable, "-c", f"from toy import *\n{call}"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder), "JAX_COMPILATION_CACHE_DIR": str(folder)},
        check=True,
    )
    return ended.stdout.splitlines()


def test_a_second_process_does_not_trace(tmp_path):
    assert printed(tmp_path) == ["traced a", "[0.0, 0.5, 1.0]"]
    assert printed(tmp_path) == ["[0.0, 0.5, 1.0]"]
    # Another shape, type or static argument is another program.
    for changed in (CALL.replace("3.0", "4.0"), CALL.replace("3.0", "3"), CALL.replace("'a'", "2")):
        assert printed(tmp_path, changed)[0].startswith("traced")
        assert not printed(tmp_path, changed)[0].startswith("traced")
    files = [file for file in (tmp_path / "traced").rglob("*") if file.is_file()]
    assert len(files) == 4
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    assert printed(tmp_path) == ["traced a", "[0.0, 0.5, 1.0]"]
    assert printed(tmp_path) == ["[0.0, 0.5, 1.0]"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which this process keeps programs."""
    monkeypatch.setattr(stored_programs, "_folder", lambda: tmp_path)
    return tmp_path


@stored_jit
def turned(array, angle):
    """A function of a module with static fields, and of a number."""
    return array.spacing * jnp.cos(angle), array


def panel():
    axes = jnp.eye(3)
    return PlanarArray(*axes, jnp.array([0.5, 0.5]), 3, 2)


def test_modules_come_back_as_modules(folder):
    half, array = turned(panel(), jnp.asarray(1.0))
    np.testing.assert_array_equal(half, 0.5 * np.cos(1.0) * np.ones(2))
    assert isinstance(array, PlanarArray)
    assert array.rows == 2
    assert len(list(folder.iterdir())) == 1


class Lawful(eqx.Module):
    """A number, and a function among the static fields."""

    value: jax.Array
    law: Callable = eqx.field(static=True)


@stored_jit
def applied(pair):
    """The function of the number."""
    return pair.law(*4 * [pair.value])


def law_of(factor):
    """A function at the top level of a user's module, which is edited from time to time."""
    module = {"__name__": "__main__"}
    exec(f"def law(one, two, three, four): return {factor} * one", module)
    return module["law"]


@pytest.mark.parametrize("wrap", [lambda law: law, partial, jax.jit])
def test_a_function_of_the_user_may_change(folder, wrap):
    for factor in (2, 3):
        assert applied(Lawful(jnp.asarray(5.0), wrap(law_of(factor)))) == 5 * factor
    assert not list(folder.iterdir())


def test_programs_with_functions_of_heliostat_are_kept(folder):
    for law in (product, sum_distance):
        applied(Lawful(jnp.asarray(5.0), law))
    assert len(list(folder.iterdir())) == 2


@stored_jit
def drawn(key):
    """Random numbers, which depend on a setting of JAX."""
    return jax.random.normal(key, (5,))


def test_another_setting_of_jax_is_another_program(tmp_path, monkeypatch):
    root = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.setattr(stored_programs, "enabled", True)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        key, found = jax.random.key(0), []
        for partitionable in (True, False, True):
            with jax.threefry_partitionable(partitionable):
                found.append(drawn(key))
                np.testing.assert_array_equal(found[-1], jax.jit(drawn.__wrapped__)(key))
        assert not np.allclose(found[0], found[1])
    finally:
        jax.config.update("jax_compilation_cache_dir", root)


def test_a_file_that_can_neither_be_read_nor_removed_does_no_harm(folder):
    half, again = (stored_jit(turned.__wrapped__) for _ in range(2))
    half(panel(), jnp.asarray(1.0))
    (file,) = folder.iterdir()
    file.unlink()
    file.mkdir()
    np.testing.assert_allclose(again(panel(), jnp.asarray(1.0))[0], 0.5 * np.cos(1.0), rtol=1e-15)


def test_a_program_that_cannot_be_written_leaves_no_file(folder, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(stored_programs.os, "replace", full)
    half, _ = stored_jit(turned.__wrapped__)(panel(), jnp.asarray(1.0))
    np.testing.assert_allclose(half, 0.5 * np.cos(1.0), rtol=1e-15)
    assert not list(folder.iterdir())


def test_transformations_trace_the_function(folder):
    angles = jnp.linspace(0.0, 1.0, 4)
    many, _ = jax.vmap(turned, in_axes=(None, 0), out_axes=(0, None))(panel(), angles)
    np.testing.assert_allclose(many[:, 0], 0.5 * np.cos(angles), rtol=1e-15)
    slope = jax.grad(lambda angle: turned(panel(), angle)[0][0])(jnp.asarray(1.0))
    np.testing.assert_allclose(slope, -0.5 * np.sin(1.0), rtol=1e-15)
    assert not list(folder.iterdir())


def test_a_program_that_cannot_be_exported_is_compiled(folder, monkeypatch):
    def refuse(*_):
        raise ValueError("no")

    monkeypatch.setattr(stored_programs.export, "export", refuse)
    half, _ = stored_jit(turned)(panel(), jnp.asarray(0.0))
    np.testing.assert_array_equal(half, [0.5, 0.5])


def test_programs_of_another_source_are_not_used(tmp_path, monkeypatch):
    source = tmp_path / "package" / "module.py"
    source.parent.mkdir()
    monkeypatch.setattr(stored_programs, "__file__", str(source))
    folders = []
    for text in ("x = 1", "x = 2"):
        source.write_text(text)
        stored_programs._folder_in.cache_clear()
        assert stored_programs._folder_in(str(tmp_path), ()) is None  # edited after the import
        stored_programs._folder_in.cache_clear()
        monkeypatch.setattr(stored_programs, "SOURCE", stored_programs._source())
        folders.append(stored_programs._folder_in(str(tmp_path), ()))
    stored_programs._folder_in.cache_clear()
    assert folders[0] != folders[1]
    old = stored_programs.UNUSED_DAYS * 86400 + 100
    os.utime(folders[0], (folders[0].stat().st_mtime - old,) * 2)
    stored_programs._folder_in(str(tmp_path), ())
    stored_programs._folder_in.cache_clear()
    assert not folders[0].exists()
    assert folders[1].exists()


def test_an_unknown_option_of_the_compiler_is_left_out(monkeypatch):
    """JAX 0.11 removed the one that `QUICK_COMPILATION` names."""
    monkeypatch.setattr(stored_programs, "QUICK_COMPILATION", {"xla_no_such_option": True})
    twice = stored_jit(_twice)
    np.testing.assert_array_equal(twice(jnp.arange(3.0)), [0.0, 2.0, 4.0])
    assert not stored_programs.QUICK_COMPILATION
    np.testing.assert_array_equal(twice(jnp.arange(2.0)), [0.0, 2.0])


def _twice(numbers):
    return 2 * numbers
