"""Terminal helpers.

Truths: a clock set by hand; the durations that JAX reports, as its cache does or does not serve.
"""

import jax

from heliostat.cli.console import COMPILING, _when_compiling, announcement

RETRIEVAL = "/jax/compilation_cache/cache_retrieval_time_sec"
COMPILATION = "/jax/core/compile/backend_compile_duration"


def announced(times, total, skipped=0):
    """Lines written when the calls after the second finish one point each at these times."""
    lines, now = [], [0.0]
    advance = announcement(lines.append, lambda: now[0])
    advance("map", 0, total)
    for done, now[0] in enumerate(times, skipped):
        advance("map", done, total)
    return lines


def test_the_time_is_extrapolated_from_points_after_compilation():
    # 20 s of compilation, then 0.5 s for each of the remaining 97 points.
    times = [15.0, 20.0, 20.5, 21.0, 21.5, 22.0]
    assert announced(times, total=100) == ["map: about 70 s in total, 4 of 100 done"]
    skipped = announced(times, total=150, skipped=50)
    assert skipped == ["map: about 70 s in total, 54 of 150 done"]


def test_a_short_computation_is_not_announced():
    assert announced([0.1 * i for i in range(40)], total=40) == []


def test_compiling_is_mentioned_once_and_loading_from_the_cache_is_not():
    announced = []
    _when_compiling(lambda: announced.append(True))
    for _ in range(4):  # JAX includes the time of retrieval in that of compilation
        jax.monitoring.record_event_duration_secs(RETRIEVAL, COMPILING)
        jax.monitoring.record_event_duration_secs(COMPILATION, 1.05 * COMPILING)
    assert not announced
    for _ in range(3):
        jax.monitoring.record_event_duration_secs(COMPILATION, COMPILING)
    assert announced == [True]
