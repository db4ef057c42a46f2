"""The format of log lines, and what happens if they cannot be formatted or written."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service import server
from service.commands.app import app
from service.errors import AdapterUnavailable
from service.observability import logs
from service.observability.log_lines import JsonLines, TextLines
from service.observability.logs import to_stderr, written_by
from service.observability.request_context import RequestContext, find_context, set_context
from service.settings import Settings

HOSTILE = 'sst2\n2026-11-26T00:00:00.000Z INFO forged: line\r\x1b[31m\x85\u2028"=} \ud83d'


def line_of(formatter: logging.Formatter, message: str, error: BaseException | None = None, **fields: Any) -> str:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.makeLogRecord(
        {"name": "service.x", "levelname": "INFO", "levelno": 20, "msg": message, "created": 1.5, "exc_info": exc_info}
    )
    record.__dict__.update(fields)
    return formatter.format(record)


@pytest.fixture
def no_request() -> Iterator[None]:
    yield
    set_context(None)


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_json_lines() -> None:
    """A line is one JSON object: time, level, logger, message, and its fields with their types."""
    line = json.loads(line_of(JsonLines(), "it works", number=3, share=0.5, tasks=[{"task": "a"}], odd=float("nan")))
    assert line == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "INFO",
        "logger": "service.x",
        "message": "it works",
        "number": 3,
        "share": 0.5,
        "tasks": [{"task": "a"}],
        "odd": None,
    }


def test_text_lines() -> None:
    """A line has when, how grave, who, what, and its fields as name=value."""
    line = line_of(TextLines(), "it works\n", number=3, tasks=["a b"], name_="a b", empty="", color_message="no")
    assert line == '1970-01-01T00:00:01.500Z INFO service.x: it works number=3 tasks=["a b"] name_="a b" empty=""'


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_a_line_is_a_line(formatter: logging.Formatter) -> None:
    """No text in a message, a field or an exception can look like a line of its own."""
    error = raised(ValueError(HOSTILE))
    lines = line_of(formatter, HOSTILE, error, field=HOSTILE, inner=[HOSTILE]).encode().decode().splitlines()
    if isinstance(formatter, JsonLines):
        (line,) = lines
        assert json.loads(line)["message"] == json.loads(line)["field"] == HOSTILE
    else:
        assert not any(re.search(r"[\x00-\x1f]", line) for line in lines)
        assert all(line.startswith("    ") for line in lines[1:])
        assert len(lines) > 2


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_exceptions(formatter: logging.Formatter, no_request: None) -> None:
    """At start and in the background exceptions are logged in full; while a request is answered only our own."""
    error = raised(AdapterUnavailable("its bytes are damaged"), raised(KeyError("what the client wrote")))
    assert "what the client wrote" in line_of(formatter, "failed", error)
    set_context(RequestContext("id"))
    line = line_of(formatter, "failed", error)
    assert "what the client wrote" not in line
    assert "builtins.KeyError" in line
    assert "service.errors.AdapterUnavailable: its bytes are damaged" in line
    assert "test_logs.py" in line
    group = line_of(formatter, "failed", ExceptionGroup("several", [error, ValueError("what the client wrote")]))
    assert "what the client wrote" not in group
    assert "builtins.ValueError" in group


def test_lines_name_their_request(no_request: None) -> None:
    """A line logged while a request is handled has the request's id and, if there is one, its trace."""
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(handler.format(record))  # type: ignore[method-assign]
    with written_by(handler, Settings(log_format="json")):
        logging.getLogger("service.x").info("before")
        set_context(RequestContext("id", trace_id="t" * 32, span_id="s" * 16))
        logging.getLogger("service.x").info("within")
        logging.getLogger("service.x").debug("too much")
    logging.getLogger("service.x").info("after")
    before, within = map(json.loads, seen)
    assert "request_id" not in before
    assert (within["request_id"], within["trace_id"], within["span_id"]) == ("id", "t" * 32, "s" * 16)
    assert find_context() is not None


class Stuck:
    """A stderr that is not read until `reads` is set."""

    def __init__(self) -> None:
        self.reads, self.is_written_to = threading.Event(), threading.Event()
        self.text = ""

    def write(self, text: str) -> None:
        self.is_written_to.set()
        assert self.reads.wait(30)
        self.text += text

    def flush(self) -> None:
        pass


def test_a_stderr_that_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging never blocks; lines beyond the buffer are dropped, and the log says how many."""
    stuck = Stuck()
    monkeypatch.setattr(logs, "MAX_BUFFERED", 5)
    monkeypatch.setattr(sys, "stderr", stuck)
    log = logging.getLogger("service.x")
    with to_stderr(Settings(log_format="json")):
        for number in range(20):
            log.info("line %d", number)
        stuck.reads.set()
        while "line 4" not in stuck.text:
            pass
        num_last = 0
        while "last" not in stuck.text:  # it is dropped, too, while the buffer is full
            log.info("last")
            num_last += 1
            time.sleep(0.01)
    messages = [json.loads(line)["message"] for line in stuck.text.splitlines()]
    num_dropped = 20 + num_last - len([message for message in messages if message.startswith(("line", "last"))])
    assert num_dropped >= 9
    assert messages[:5] == [f"line {number}" for number in range(5)]
    reports = [message for message in messages if message.endswith("lines were dropped: stderr was not read")]
    assert sum(int(report.split()[0]) for report in reports) == num_dropped


def test_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line logged while earlier lines are being written is not lost, even if it is the last."""
    stuck = Stuck()
    monkeypatch.setattr(sys, "stderr", stuck)
    log = logging.getLogger("service.x")
    with to_stderr(Settings(log_format="json")):
        log.info("first")
        assert stuck.is_written_to.wait(30)
        log.info("last")
        threading.Timer(0.1, stuck.reads.set).start()
    assert [json.loads(line)["message"] for line in stuck.text.splitlines()] == ["first", "last"]


@pytest.mark.parametrize("num_lines", [7, 15])
def test_lines_dropped_before_the_end(monkeypatch: pytest.MonkeyPatch, num_lines: int) -> None:
    """The last line counts those dropped since the last write, in the format of all lines."""
    stuck = Stuck()
    monkeypatch.setattr(logs, "MAX_BUFFERED", 5)
    monkeypatch.setattr(sys, "stderr", stuck)
    log = logging.getLogger("service.x")
    with to_stderr(Settings(log_format="json")):
        log.info("first")
        assert stuck.is_written_to.wait(30)
        for number in range(num_lines):
            log.info("line %d", number)
        threading.Timer(0.1, stuck.reads.set).start()
    last = json.loads(stuck.text.splitlines()[-1])
    assert last["message"] == f"{num_lines - 5} lines were dropped: stderr was not read"
    assert last["level"] == "WARNING"


def test_a_process_without_stderr() -> None:
    """A process started with stderr closed gives descriptor 2 to no file, and its children inherit it."""
    code = """
import os
from service import __main__
__main__.open_stderr()
print(os.readlink("/proc/self/fd/2"), os.get_inheritable(2))
"""
    command = ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == "/dev/null True\n"


class Unwritable:
    """An argument whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("what the client wrote")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_line_that_cannot_be_written(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_format: str, no_request: None
) -> None:
    """A message that cannot be formatted raises nothing: the log names its logger, and none of its arguments."""
    set_context(RequestContext("id"))
    monkeypatch.setattr(logging.root, "handlers", [])  # those of pytest fail for it
    with to_stderr(Settings(log_format=log_format)):  # type: ignore[arg-type]  # a Literal
        logging.getLogger("service.x").info("%d items", "what the client wrote")
        logging.getLogger("service.x").info("%s", Unwritable())
        logging.getLogger("service.x").error("no exception", exc_info=True)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all("service.x" in line for line in lines)
    assert ["a line could not be formatted" in line for line in lines] == [True, True, False]
    assert "what the client wrote" not in "".join(lines)


def test_what_python_prints(capfd: pytest.CaptureFixture[str]) -> None:
    """Exceptions of a thread and of a finaliser are logged as lines."""

    class Bad:
        def __del__(self) -> None:
            raise ValueError("in a finaliser")

    def fail() -> None:
        raise ValueError("in a thread")

    with to_stderr(Settings(log_format="json")):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        Bad()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["a thread has ended", "an exception was ignored"]
    assert "ValueError: in a thread" in lines[0]["exception"]
    assert "ValueError: in a finaliser" in lines[1]["exception"]


@pytest.mark.usefixtures("clean_environment")
def test_a_failed_start_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error at start is logged in the configured format, and gives the exit code 2."""
    command = ["serve", "--backbone", str(tmp_path / "none"), "--data-dir", str(tmp_path)]
    monkeypatch.setenv("ADAKRON_LOG_FORMAT", "json")
    done = CliRunner().invoke(app, command)
    line = json.loads(done.stderr.splitlines()[-1])
    assert (done.exit_code, line["level"]) == (2, "CRITICAL")
    assert "is no folder" in line["message"]
    monkeypatch.setenv("ADAKRON_LOG_FORMAT", "text")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("error: backbone")
    monkeypatch.setattr(server, "run_server", lambda settings, folder: 1 / 0)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert "ZeroDivisionError" in done.stderr


def test_lines_of_several_processes_stay_whole() -> None:
    """Processes that write to one full pipe at the same time do not cut each other's lines."""
    program = (
        "import logging, sys; from service.observability.logs import to_stderr; from service.settings import Settings\n"
        "with to_stderr(Settings()):\n"
        "    print('started', flush=True)\n"
        "    for number in range(2000):\n"
        "        logging.info('%s', f'{sys.argv[1] * (50 + number % 900)}.{number}')\n"
    )
    reading, writing = os.pipe()
    started = [
        subprocess.Popen([sys.executable, "-c", program, name], stdout=subprocess.PIPE, stderr=writing)
        for name in "abc"
    ]
    os.close(writing)
    for process in started:  # the pipe holds a fiftieth of the lines: from now on, all processes wait to write
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.stdout.close()
    with open(reading, "rb", buffering=0) as pipe:
        lines = b"".join(iter(lambda: pipe.read(3000), b"")).decode().splitlines()
    assert [process.wait() for process in started] == [0, 0, 0]
    found = [re.fullmatch(r"\S+Z INFO root: (a+|b+|c+)\.(\d+)", line) for line in lines]
    assert [line for line, match in zip(lines, found, strict=True) if match is None] == []
    for name in "abc":
        numbers = [int(match[2]) for match in found if match and match[1][0] == name]
        assert numbers == list(range(2000))
