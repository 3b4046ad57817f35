"""The bench: how runs become figures, how figures are shown, and that both sides really run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench import document
from scripts.harness.bench.instruments import exchange_info, instruments, listed_instruments
from scripts.harness.bench.measures import MEASURES, Figure, Result, bounded, compared, seen
from scripts.harness.bench.plan import Conditions, steps
from scripts.harness.bench.profiling import PARTS, REST, Profile, part_of, profile_tables, shares_of
from scripts.harness.bench.queues import CONTENDERS, FOLDER, Contender
from scripts.harness.bench.statistics import growth, percentile, ratios, spread_of, steady_rate
from scripts.harness.bench.tables import (
    as_json,
    as_object,
    document_tables,
    headline,
    put_between,
    results_in,
    shown,
    verdict,
)
from scripts.harness.processes import ROOT

SECOND_NS = 1_000_000_000


def faster(ratio: float) -> Result:
    return Result(number=1, counted=[compared("orders a second", [100 * ratio], [100.0], "1/s")])


def test_a_figure_is_the_median_of_its_runs_and_says_how_far_they_lay_apart() -> None:
    found = spread_of([3.0, 1.0, 10.0])
    assert (found.median, found.low, found.high) == (3.0, 1.0, 10.0)
    with pytest.raises(ValueError, match="no run"):
        spread_of([])


def test_ratios_compare_runs_made_in_turn_not_medians() -> None:
    assert ratios([10.0, 40.0], [10.0, 20.0]) == [1.0, 2.0]
    figure = compared("speed", [10.0, 40.0, 30.0], [10.0, 20.0, 60.0], "1/s")
    assert (figure.ratio, figure.spread) == (1.0, (0.5, 2.0))
    assert (figure.ours, figure.theirs) == (30.0, 20.0)


def test_runs_without_a_counterpart_are_no_ratio() -> None:
    with pytest.raises(ValueError, match="1 runs of ours against 2"):
        ratios([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="measured 0"):
        ratios([1.0], [0.0])


def test_percentiles_are_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.99) == 7
    assert percentile([2.0, 1.0], 0.0) == 1
    with pytest.raises(ValueError, match="no value"):
        percentile([], 0.5)


def test_a_rate_leaves_out_the_start_and_the_end_of_a_run() -> None:
    steady = [number * SECOND_NS // 100 for number in range(1_000)]
    assert steady_rate(steady) == pytest.approx(100)
    slow_start = [at_ns - 60 * SECOND_NS for at_ns in steady[:100]] + steady[100:]
    slow_end = [*slow_start[:-50], *(at_ns + 60 * SECOND_NS for at_ns in slow_start[-50:])]
    assert steady_rate(slow_end) == pytest.approx(100)
    with pytest.raises(ValueError, match="too few"):
        steady_rate([1, 2])


def test_growth_is_the_dearest_size_over_the_smallest() -> None:
    assert growth([100.0, 90.0, 130.0]) == pytest.approx(1.3)
    with pytest.raises(ValueError, match="two sizes"):
        growth([1.0])


def test_a_measure_is_judged_by_the_worst_of_what_counts() -> None:
    result = Result(
        number=8,
        counted=[bounded("CPU", [0.2], 1.0, "%"), bounded("requests", [3.6], 3.0, "1/s")],
        explaining=[seen("anything", [1e9], "s")],
    )
    worst = headline(result)
    assert worst is not None
    assert worst.name == "requests"
    assert verdict(result) == "missed"


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, "missed"), (0.9, "reached"), (1.3, "aim")])
def test_a_verdict_says_which_bound_was_reached(ratio: float, expected: str) -> None:
    assert verdict(faster(ratio)) == expected


def test_what_could_not_be_measured_is_no_zero() -> None:
    absent = Figure(name="a queue", ratio=None, ours=None, theirs=None, unit="orders/s", note="not installed")
    result = Result(number=2, counted=[], explaining=[absent])
    assert verdict(result) == "not measured"
    assert as_object([result])["2"]["ratio"] is None
    assert "Taken at noon." in document_tables([result], {2: "Taken at noon."})
    assert "not installed" in document_tables([result], {2: "Taken at noon."})


def test_the_closing_line_is_one_object_by_measure_number() -> None:
    closing = json.loads(
        as_json([faster(1.0), Result(number=6, counted=[bounded("memory", [1024.0], 2048, "bytes")])])
    )
    assert set(closing) == {"1", "6"}
    assert closing["6"]["ratio"] == 0.5
    assert closing["6"]["unit"] == "bytes"
    assert closing["1"]["spread"] == [1.0, 1.0]
    assert {"ratio", "ours", "theirs", "unit", "spread"} <= set(closing["1"])


def test_stored_results_are_read_back_as_they_were() -> None:
    results = [faster(1.1), Result(number=3, counted=[], explaining=[seen("p99", [1.0, 2.0], "us")])]
    assert results_in(json.loads(as_json(results))) == results


def test_numbers_are_shown_with_three_digits() -> None:
    assert [shown(one) for one in (None, 0.12345, 12.345, 1234.5)] == ["-", "0.123", "12.3", "1 234"]


def test_new_figures_take_the_place_of_old_ones_and_leave_the_rest(tmp_path: Path) -> None:
    stored, written = tmp_path / "figures.json", tmp_path / "page.md"
    written.write_text("above\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nbelow\n")
    memory = Result(number=6, counted=[bounded("memory", [1.0], 2.0, "bytes")])
    document([faster(0.5), memory], "Taken first.", stored, written)
    document([faster(1.5)], "Taken later.", stored, written)
    text = written.read_text()
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "old" not in text
    assert "| 1.5 | 1.5 - 1.5 | aim |" in text
    assert "| 0.5 | 0.5 - 0.5 | aim |" in text
    assert (text.count("Taken first."), text.count("Taken later.")) == (1, 1)
    assert sorted(json.loads(stored.read_bytes())) == ["1", "6"]


def test_a_document_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="measured: begin"):
        put_between("a page", "tables")


def test_every_measure_can_be_run_whole_and_quick() -> None:
    assert set(steps(Conditions())) == set(steps(Conditions(quick=True))) == set(MEASURES)
    for measure in MEASURES.values():
        assert measure.reached(measure.aim, measure.must), (
            f"{measure.number}: who reaches the aim reaches the bound"
        )


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_a_queue_is_installed_from_exact_versions(contender: Contender) -> None:
    lines = (FOLDER / f"{contender.environment}.txt").read_text().split()
    assert all(line.count("==") == 1 for line in lines)
    assert "ccxt==4.5.90" in lines
    assert any(line.lower().startswith(contender.environment) for line in lines)
    assert (FOLDER / f"{contender.environment}_side.py").exists()


def test_every_listed_symbol_has_an_order_that_its_rules_take() -> None:
    symbols = json.loads(exchange_info(5))["symbols"]
    assert [one["symbol"] for one in symbols] == [
        "B00000USDT",
        "B00001USDT",
        "B00002USDT",
        "B00003USDT",
        "B00004USDT",
    ]
    assert [one.symbol for one in instruments(2)] == ["B00000/USDT:USDT", "B00001/USDT:USDT"]
    for one in [*instruments(1), *listed_instruments(16)]:
        assert float(one.amount) * float(one.sell_price) >= 5
        assert float(one.buy_price) > float(one.sell_price)


def test_a_sample_belongs_to_the_innermost_frame_that_is_known() -> None:
    stack = "main (workers/exchange.py:1);run_place (workers/place.py:2);place (common/exchange/binance.py:3)"
    sent = f"{stack};send (common/exchange/http_connection.py:4)"
    assert part_of(f"{sent};isfuture (asyncio/futures.py:5)") == "HTTP: connections, replies"
    assert part_of(stack) == "adapter: call, reply judged, report"
    assert part_of("main (workers/exchange.py:1);run (uvloop/__init__.py:2)") == REST


@pytest.mark.parametrize(("part", "files"), PARTS, ids=[part for part, _ in PARTS])
def test_a_part_of_the_profile_names_files_that_there_are(part: str, files: tuple[str, ...]) -> None:
    for name in files:
        if name.startswith(("common/", "workers/", "orderlane/")):
            assert part_of(f"main (workers/exchange.py:1);step ({name}:2)") == part
            assert list(ROOT.glob(f"{name}*")), f"no file is called {name}…"


def test_a_profile_shares_the_cost_of_an_intent_out() -> None:
    raw = [
        "main (workers/exchange.py:1);feed (common/exchange/http_reply.py:4) 30",
        "main (workers/exchange.py:1);run (uvloop/__init__.py:2) 10",
        "wait (threading.py:1) 500",
    ]
    shares, samples = shares_of(raw, worker_us=400.0)
    assert samples == 40
    assert [(one.share, one.microseconds) for one in shares] == [(0.75, 300.0), (0.25, 100.0)]
    text = profile_tables(Profile(400.0, 100.0, samples, shares, [("evalsha", 3.0, 90.0)]))
    assert "| HTTP: connections, replies | 75.0% | 300 |" in text
    assert "| evalsha | 3.00 | 90.0 |" in text


def test_an_unknown_measure_is_refused_by_its_number() -> None:
    done = run_bench("--only", "1,12")
    assert done.returncode == 2
    assert "there is no measure 12" in done.stderr


def test_the_quick_bench_runs_both_sides_and_closes_with_one_object() -> None:
    done = run_bench("--quick", "--json", "--only", "1", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    closing = json.loads(done.stdout.splitlines()[-1])
    assert list(closing) == ["1"]
    assert closing["1"]["ours"] > 0
    assert closing["1"]["theirs"] > 0
    assert closing["1"]["ratio"] == pytest.approx(closing["1"]["ours"] / closing["1"]["theirs"])


def run_bench(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", str(ROOT / "scripts" / "bench.py"), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
