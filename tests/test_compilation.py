"""Where compiled programs are kept. Truth: JAX's own settings in a fresh process."""

import os
import subprocess
import sys

import pytest

SHOW = "import heliostat, jax; print(jax.config.jax_compilation_cache_dir)"


def shown(code, folder, **environment):
    """What a fresh Python prints, with its caches in a folder."""
    names = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    clean |= {"XDG_CACHE_HOME": str(folder)} | environment
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=clean,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout.strip()


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="XDG_CACHE_HOME is for Linux")
class TestCache:
    """The cache of the user, unless there is another or it cannot be written."""

    def test_python_keeps_programs_in_the_users_cache(self, tmp_path):
        code = "import heliostat, jax; jax.jit(lambda x: x + 1)(1.0)"
        assert shown(code, tmp_path) == ""
        assert any((tmp_path / "heliostat").iterdir())

    def test_jax_that_is_imported_already_is_told(self, tmp_path):
        assert shown(f"import jax; {SHOW}", tmp_path) == str(tmp_path / "heliostat")

    def test_a_folder_of_the_user_is_left_alone(self, tmp_path):
        assert shown(SHOW, tmp_path, JAX_COMPILATION_CACHE_DIR="/mine") == "/mine"
        own = "import jax; jax.config.update('jax_compilation_cache_dir', '/own'); "
        assert shown(own + SHOW, tmp_path) == "/own"

    def test_without_a_folder_that_can_be_written_nothing_is_kept(self, tmp_path):
        (tmp_path / "file").write_text("")
        assert shown(SHOW, tmp_path / "file") == "None"
