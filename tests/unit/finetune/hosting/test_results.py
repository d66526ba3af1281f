"""What providers say of a training becomes the lines of a log."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from finetune.hosting.results import Log, Unreadable, of_event, of_file

CSV = """step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,full_valid_loss
1,2.5,0.4,2.9,0.3,
2,1.5,0.5,,,1.8
2,1.25,0.6,,,1.75
3,nan,0.7,1.0,0.6,
"""
LINES = [
    {"step": 1, "loss": 2.5, "mean_token_accuracy": 0.4},
    {"step": 2, "loss": 1.25, "eval_loss": 1.75, "mean_token_accuracy": 0.6},
    {"step": 3, "mean_token_accuracy": 0.7},
]


@pytest.mark.parametrize(
    "content",
    [
        CSV.encode(),
        base64.b64encode(CSV.encode()),
        base64.encodebytes(CSV.encode()),
        b"\xef\xbb\xbf" + CSV.encode(),
        CSV.replace("\n", "\r\n").encode(),
        CSV.replace("\n", "\r").encode(),
        (CSV + "1e300,1,1,1,1,1\n-1,1,1,1,1,1\nlast,1,1,1,1,1\n").encode(),
    ],
)
def test_result_files_however_they_are_written(content: bytes) -> None:
    assert of_file(content) == LINES


def test_losses_of_single_batches_are_for_want_of_others() -> None:
    assert of_file(b"step,train_loss,valid_loss\n1,2,3\n") == [{"step": 1, "loss": 2.0, "eval_loss": 3.0}]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe,", b"<html>, no</html>", b"QUJD", b"%%%", b'step,\n1,"' + b"x" * 200_000 + b'"']
)
def test_what_is_no_result_file(content: bytes) -> None:
    with pytest.raises(Unreadable):
        of_file(content)


@pytest.mark.parametrize(
    ("message", "data", "line", "total"),
    [
        ("Step 2", {"step": 2, "total_steps": 9, "train_loss": 1.5}, {"step": 2, "loss": 1.5}, 9),
        ("Step 10/300: training loss=0.5", None, {"step": 10, "loss": 0.5}, 300),
        (
            "Step 3/6: training loss=0.52, validation loss=0.61, full validation loss=0.63",
            {},
            {"step": 3, "loss": 0.52, "eval_loss": 0.63},
            6,
        ),
        ("Step 4/6: training loss=1.5, validation loss: 2", [], {"step": 4, "loss": 1.5, "eval_loss": 2.0}, 6),
        ("The job has started", {}, {}, 0),
        ("Created", {"step": "soon"}, {}, 0),
        ("Step", {"step": 1e300, "total_steps": -1}, {}, 0),
        (None, {"step": 1}, {"step": 1}, 0),
        (["Step 1/2"], None, {}, 0),
    ],
)
def test_events(message: object, data: object, line: dict[str, float], total: int) -> None:
    assert of_event(message, data) == (line, total)


def test_a_log_has_each_step_once_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path)
    assert log.add([{"step": 2, "loss": 2.0, "at_s": 5.0}], epochs=2, total=4)
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')
    log = Log(path)
    assert not log.add([{"step": 2, "loss": 2.0, "at_s": 5.0}], epochs=2, total=4)
    assert log.add([{"step": 4, "loss": 1.0}, {"step": 1, "loss": 3.0, "eval_loss": 4.0}], epochs=2, total=4)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "loss": 3.0, "eval_loss": 4.0, "at_s": 0.0, "epoch": 0.5},
        {"step": 2, "loss": 2.0, "at_s": 5.0, "epoch": 1.0},
        {"step": 4, "loss": 1.0, "at_s": 5.0, "epoch": 2.0},
    ]
    assert (log.last("loss"), log.least("eval_loss"), log.least("grad_norm")) == (1.0, 4.0, None)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
