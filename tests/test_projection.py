import math
from pathlib import Path

import pytest

from bundler.errors import RehearsalError
from bundler.rehearse.events import read_events
from bundler.rehearse.projection import (
    LEAST_IMAGES_PER_FILE,
    HiddenTest,
    Stages,
    check_growth,
    check_time,
    growth_in_words,
    growth_per_file,
    projection,
    read_stages,
)
from multihead.config import EVENTS_VARIABLE
from multihead.runtime.events import tell

HIDDEN_IMAGES = 211_042
HIDDEN = HiddenTest(HIDDEN_IMAGES, 137 * 236, 120, "--rows 16000 does")
T4 = Stages(8000, 4, 4.0, 16000, 40.0, "Tesla T4", 3000.0, HIDDEN)


def stages(**changes: object) -> Stages:
    return Stages(**(T4.__dict__ | changes))


def test_the_stages_are_what_the_kernel_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "events.jsonl"
    with pytest.raises(RehearsalError, match=r"^the kernel ended without telling what its stages took"):
        read_stages(events, HIDDEN)
    monkeypatch.setenv(EVENTS_VARIABLE, str(events))
    tell("file predicted")
    with pytest.raises(RehearsalError, match=r"^the kernel ended without telling"):
        read_stages(events, HIDDEN)
    tell("stages", **{name: value for name, value in T4.__dict__.items() if name != "hidden"})
    assert read_stages(events, HIDDEN) == T4


def test_what_is_no_event_is_passed_over_and_a_line_that_is_not_whole_waits(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    event = '{"event": "file predicted"}'
    events.write_bytes(f'{event}\n\nnonsense\n[1]\n"file predicted"\n{event}\n'.encode() + b"\xff\n" + event.encode())
    assert len(read_events(events, "file predicted")) == 2
    assert read_events(tmp_path, "file predicted") == []


def test_each_stage_is_projected_at_its_own_pace() -> None:
    assert T4.reading_minutes == pytest.approx(HIDDEN_IMAGES / 2000 / 60)
    assert T4.network_minutes == pytest.approx(HIDDEN_IMAGES / 3000 / 60)
    assert projection(T4, 115).splitlines() == [
        "  read and crop   8,000 images in 4.0 s here, 2,000 a second; 211,042 take 1.8 minutes",
        "  network         16,000 images in 40.0 s here, 400 a second; "
        "211,042 take 1.2 minutes on the Tesla T4 that it was trained on",
        "  hidden test     1.8 of 115 minutes",
    ]
    assert projection(stages(images_per_second=100.0), 0).endswith("  hidden test     35.2 of 120 minutes")


@pytest.mark.parametrize(
    ("device", "rate", "message"),
    [
        ("", 0.0, "network time unknown: not measured in training"),
        ("CPU", 50.0, "network time unknown: trained on a CPU"),
    ],
)
def test_without_a_figure_from_a_gpu_the_network_neither_passes_nor_fails(
    device: str, rate: float, message: str
) -> None:
    unknown = stages(device=device, images_per_second=rate)
    text = projection(unknown, 115)
    assert message in text
    assert text.endswith("  hidden test     1.8 for reading, network time unknown, of 115 minutes")
    check_time(unknown, 115)


@pytest.mark.parametrize(
    ("slow", "budget", "message"),
    [
        (
            {"read_seconds": 300.0},
            115,
            r"cropping is too slow: 27 images a second, so 132 minutes .*budget_minutes is 115",
        ),
        ({"read_seconds": 300.0}, 0, r"cropping is too slow: 27 .* 132 minutes .* 211,042; Kaggle allows 120$"),
        ({"read_seconds": 300.0}, 600, r"cropping is too slow: .*; Kaggle allows 120$"),
        (
            {"images_per_second": 29.0},
            115,
            r"network is too slow: 29 images a second on Tesla T4, so 121 minutes .*minutes is 115",
        ),
    ],
)
def test_a_stage_too_slow_for_the_limit_is_a_failure(slow: dict[str, float], budget: float, message: str) -> None:
    with pytest.raises(RehearsalError, match=message):
        check_time(stages(**slow), budget)


def test_a_stage_within_the_limit_passes() -> None:
    check_time(T4, 115)
    check_time(stages(read_seconds=4 * 65.0), 115)
    check_time(stages(images_per_second=31.0), 115)


def test_a_hidden_test_whose_images_nobody_has_counted_projects_nothing() -> None:
    unknown = stages(hidden=HIDDEN._replace(images=0, minutes=540), read_seconds=3000.0)
    assert projection(unknown, 0).splitlines() == [
        "  read and crop   8,000 images in 3000.0 s here, 3 a second",
        "  network         16,000 images in 40.0 s here, 400 a second",
        "  hidden test     its number of images is not known (hidden_images of the task); at most 540 minutes",
    ]
    check_time(unknown, 0)


def test_the_limit_and_the_size_of_an_image_are_the_task_s() -> None:
    slow = stages(hidden=HIDDEN._replace(minutes=540), read_seconds=300.0)
    check_time(slow, 0)
    assert projection(slow, 0).endswith("  hidden test     131.9 of 540 minutes")
    photographs = stages(hidden=HIDDEN._replace(image_bytes=512 * 512 * 3))
    growth = growth_per_file([1e9, 1.13e9, 1.26e9, 1.39e9], photographs)
    check_growth(growth, photographs)  # a leak of a file of them would be 1.6 GB
    assert growth is not None


def test_small_files_give_a_bound_and_no_failure() -> None:
    small = stages(read_images=12, read_seconds=2.0)
    assert small.reading_minutes > 115
    check_time(small, 115)
    text = projection(small, 115)
    assert "211,042 take at most 586.2 minutes (so few images in a file say no more: --rows 16000 does)" in text
    assert stages(read_images=4 * LEAST_IMAGES_PER_FILE - 1).has_small_files
    assert not stages(read_images=4 * LEAST_IMAGES_PER_FILE).has_small_files


FULL, LARGE = stages(read_images=HIDDEN_IMAGES), stages(read_images=16_000)
BUFFER = 1.7e9  # what a file is read into, beside the one that is predicted


@pytest.mark.parametrize(
    ("file_bytes", "measured"),
    [
        ([1e9 + 1.7e9 + BUFFER, 1e9 + 3.4e9 + BUFFER, 1e9 + 5.1e9, 1e9 + 6.8e9], FULL),
        ([1e9, 1.13e9, 1.26e9, 1.39e9], LARGE),
        ([1e9, 1.3e9, 1.6e9, 1.9e9, 1.9e9], stages(files=5, read_images=50_000)),
    ],
)
def test_a_file_s_content_that_is_kept_is_found(file_bytes: list[float], measured: Stages) -> None:
    growth = growth_per_file(file_bytes, measured)
    assert growth is not None
    assert growth_in_words(growth, measured.hidden) == f"  with each file  +{growth / 1e6:,.0f} MB"
    with pytest.raises(RehearsalError, match=r"^memory grows with the rows: by \d\.\d\d GB with each file of"):
        check_growth(growth, measured)


@pytest.mark.parametrize(
    ("file_bytes", "measured"),
    [
        ([2.5e9, 2.5e9, 0.9e9, 0.9e9], FULL),
        ([2.5e9, 2.6e9, 0.9e9, 0.9e9], FULL),  # less than a tenth of the file
        ([1e9, 1.09e9, 1.18e9, 1.27e9], LARGE),  # an allocator's habit
        ([1e9, 2.7e9, 2.7e9, 2.7e9, 2.7e9], stages(files=5, read_images=50_000)),  # once: something was loaded late
    ],
)
def test_what_does_not_grow_from_file_to_file_is_no_leak(file_bytes: list[float], measured: Stages) -> None:
    growth = growth_per_file(file_bytes, measured)
    assert growth is not None
    check_growth(growth, measured)


@pytest.mark.parametrize(
    ("file_bytes", "measured"),
    [
        ([], LARGE),
        ([1e9, 2e9, 3e9], stages(files=3, read_images=16_000)),
        ([1e9, math.nan, 3e9, 4e9], LARGE),
        ([1e9, 2e9, 3e9, 4e9], stages(read_images=14_000)),  # files too small to tell a leak from a habit
    ],
)
def test_where_growth_cannot_be_told_the_table_says_so(file_bytes: list[float], measured: Stages) -> None:
    growth = growth_per_file(file_bytes, measured)
    assert (
        growth_in_words(growth, measured.hidden) == "  with each file  not judged of so few images (--rows 16000 does)"
    )
    check_growth(growth, measured)
