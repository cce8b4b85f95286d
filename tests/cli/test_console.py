"""Terminal helpers. Truth: the durations that JAX reports, as its cache does or does not serve."""

import jax

from heliostat.cli.console import COMPILING, _when_compiling

RETRIEVAL = "/jax/compilation_cache/cache_retrieval_time_sec"
COMPILATION = "/jax/core/compile/backend_compile_duration"


def test_compiling_is_mentioned_once_and_loading_from_the_cache_is_not():
    told = []
    _when_compiling(lambda: told.append(True))
    for _ in range(4):  # JAX includes the time of retrieval in that of compilation
        jax.monitoring.record_event_duration_secs(RETRIEVAL, COMPILING)
        jax.monitoring.record_event_duration_secs(COMPILATION, 1.05 * COMPILING)
    assert not told
    for _ in range(3):
        jax.monitoring.record_event_duration_secs(COMPILATION, COMPILING)
    assert told == [True]
