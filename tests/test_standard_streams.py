"""Standard streams that are closed or cannot be written."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = "import os, sys\nfrom birefnet_batch.standard_streams import mend_streams\nmend_streams()\n"


def shell(words: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f'"$@" {words}', "bash", sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("log", ["2> /dev/full", "2>&-"])
def test_a_log_that_cannot_be_written_changes_nothing_else(log: str) -> None:
    program = "for n in range(3): print('log', file=sys.stderr)\nprint('done')"
    done = shell(log, _PROGRAM + program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream_and_with_it_what_is_written_there(closed: str) -> None:
    program = (
        "import subprocess\nfile = open(os.devnull)\n"
        "ours = subprocess.run(['bash', '-c', 'true <&0 >&1 2>&2'], stderr=subprocess.DEVNULL).returncode\n"
        "print('said', flush=True)\nsys.exit(file.fileno() < 3 or ours)"
    )
    done = shell(closed, _PROGRAM + program)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("nowhere", ["> /dev/full", "| true"])
def test_what_a_run_prints_is_lost_where_nobody_takes_it_and_the_run_goes_on(nowhere: str) -> None:
    program = (
        "from birefnet_batch.standard_streams import lose_output\nlose_output()\n"
        "for n in range(3): print('line', n, flush=True)\nprint('went on', file=sys.stderr)"
    )
    done = shell(f"{nowhere}; exit ${{PIPESTATUS[0]}}", _PROGRAM + program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "went on\n")


@pytest.mark.parametrize("unbuffered", ["0", "1"])
@pytest.mark.parametrize(
    ("module", "words"),
    [("__main__", ["--help"]), ("engines_command", ["list", "--store", "."]), ("models.weights_command", ["list"])],
)
def test_what_a_command_prints_on_a_full_disk_is_one_clear_error(
    module: str, words: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "" if unbuffered == "0" else "1")
    program = f"import sys\nfrom birefnet_batch.{module} import main\nsys.exit(main())"
    done = shell("> /dev/full", program, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output cannot be written: no space left on device; make room")
    assert done.stderr.count("\n") == 1


def test_an_error_of_a_file_is_not_taken_for_one_of_standard_output() -> None:
    program = (
        "from birefnet_batch.exit_status import while_read\n"
        "def work():\n    with open('/dev/full', 'w') as file: file.write('x')\n"
        "while_read(work)"
    )
    done = shell("", _PROGRAM + program)
    assert done.returncode == 1
    assert done.stderr.endswith("OSError: [Errno 28] No space left on device\n")


def test_a_log_that_can_be_written_has_every_line_at_once() -> None:
    done = shell("", _PROGRAM + "print('log \\udcff', file=sys.stderr)\nos._exit(0)")
    assert done.stderr == "log \\udcff\n"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("__main__", ["request.model=nobody", "request.video_url=a.mp4", "output=none"]),
        ("engines_command", ["export", "nobody", "512"]),
        ("models.weights_command", ["fetch", "nobody"]),
        ("status_command", ["/none"]),
        ("verify_command", ["/none"]),
    ],
)
def test_each_program_fails_in_its_own_way_where_its_error_cannot_be_shown(module: str, words: list[str]) -> None:
    program = f"import sys\nfrom birefnet_batch.{module} import main\nsys.exit(main())"
    done = shell("2>&-", program, *words)
    assert (done.returncode, done.stdout) == (2, "")
