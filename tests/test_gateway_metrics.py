"""What is counted is written as Prometheus reads it, also by several threads at once."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from hallmark.service.gateway.metrics import BUCKETS, HELP, Metrics

LINE = re.compile(r'[a-z_]+(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?[0-9.e+-]+')


def test_each_kind_has_its_own_form() -> None:
    metrics = Metrics()
    metrics.count("hallmark_requests_total", endpoint="chat", status=200)
    metrics.count("hallmark_requests_total", status=200, endpoint="chat")
    metrics.add("hallmark_price_total", 0.25, route="prod")
    metrics.gauge("hallmark_under_way", 3)
    metrics.observe("hallmark_masking_seconds", 0.03)
    metrics.observe("hallmark_masking_seconds", 99)
    lines = metrics.text().splitlines()
    assert 'hallmark_requests_total{endpoint="chat",status="200"} 2' in lines
    assert 'hallmark_price_total{route="prod"} 0.25' in lines
    assert "hallmark_under_way 3" in lines
    buckets = [line for line in lines if line.startswith("hallmark_masking_seconds_bucket")]
    assert [line.split()[1] for line in buckets] == ["0", "0", "0", *["1"] * (len(BUCKETS) - 3), "2"]
    assert buckets[-1].startswith('hallmark_masking_seconds_bucket{le="+Inf"}')
    assert "hallmark_masking_seconds_sum 99.03" in lines
    assert "hallmark_masking_seconds_count 2" in lines
    assert f"# HELP hallmark_under_way {HELP['hallmark_under_way']}" in lines
    assert "# TYPE hallmark_masking_seconds histogram" in lines


@given(st.dictionaries(st.sampled_from(["a", "b", "c_d"]), st.text(max_size=9), max_size=3), st.floats(0, 1e12))
def test_any_label_stays_within_its_line(labels: dict[str, str], value: float) -> None:
    metrics = Metrics()
    metrics.add("hallmark_x_total", value, **labels)
    comment, *lines = metrics.text().rstrip("\n").split("\n")
    assert comment == "# TYPE hallmark_x_total counter"
    assert len(lines) == 1
    assert LINE.fullmatch(lines[0])
    assert float(lines[0].rpartition(" ")[2]) == value


def test_nothing_is_lost_between_threads() -> None:
    metrics = Metrics()

    def work(number: int) -> None:
        for _ in range(2_000):
            metrics.count("hallmark_x_total", thread=number % 2)
            metrics.observe("hallmark_y_seconds", 0.1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert 'hallmark_x_total{thread="0"} 8000\n' in metrics.text()
    assert "hallmark_y_seconds_count 16000\n" in metrics.text()
