"""A template imports, forks children of its own parent, and knows when its code is old."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bus.runtime.spare import Role
from bus.runtime.template import fingerprint, is_current
from bus.runtime.template_words import CHANGED, CHECK, CURRENT, FORK, FORK_SPARE, IMPORTED
from bus.supervision.adoption import become_subreaper
from bus.testing import wait_until

ROOT = Path(__file__).resolve().parents[2]

assert become_subreaper()  # whatever is forked twice comes to this very process


class Templated:
    """A template under test, its end of the socket pair, and what it forked."""

    def __init__(self, path: Path, *modules: str) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(20)
        self._log = path / "template.log"
        arguments = [str(theirs.fileno()), str(path / "none.toml"), *modules]
        with theirs, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bus.runtime.template", *arguments],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{path}"},
                stdout=log,
                stderr=log,
            )
        self.forked: list[int] = []

    def imported(self) -> Templated:
        assert self.channel.recv(64) == IMPORTED, self.log()
        return self

    def log(self) -> str:
        return self._log.read_text()

    def ask(self, word: bytes) -> bytes:
        self.channel.sendall(word)
        return self.channel.recv(64)

    def fork(self, word: bytes = FORK) -> tuple[int, socket.socket]:
        """A forked process and this end of its socket pair."""
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        with theirs:
            socket.send_fds(self.channel, [word], [theirs.fileno()])
        pid = int(ours.recv(64))
        self.forked.append(pid)
        return pid, ours

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()
        for pid in self.forked:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


@pytest.fixture
def template(tmp_path: Path) -> Iterator[Callable[..., Templated]]:
    made: list[Templated] = []

    def make(*modules: str) -> Templated:
        made.append(Templated(tmp_path, *modules))
        return made[-1]

    yield make
    for each in made:
        each.close()


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def role(tmp_path: Path) -> Role:
    """The broker with settings that it must refuse."""
    bad = tmp_path / "bad.toml"
    bad.write_text("nonsense = 1\n")
    arguments = ("--config", str(bad), "--name", "broker")
    return Role("bus.broker", arguments, str(tmp_path / "broker.log"), {})


@pytest.mark.parametrize("word", [FORK, FORK_SPARE])
def test_a_fork_is_a_child_of_the_supervisor_and_plays_its_role_to_the_exit_code(
    template: Callable[..., Templated], tmp_path: Path, word: bytes
) -> None:
    source = template("bus.broker.__main__").imported()
    pid, channel = source.fork(word)
    with channel:
        assert parent_of(pid) == os.getpid()
        assert os.getsid(pid) == os.getpgid(pid) == pid, "a leader, to be killed with its group"
        channel.sendall(role(tmp_path).to_line())
        assert exit_code(pid) == 78, "as the broker itself says of settings it cannot use"
    assert "nonsense" in (tmp_path / "broker.log").read_text()
    assert source.log() == "", "from its role on it writes to that process's log"


def test_a_fork_without_a_role_ends_with_its_supervisor(template: Callable[..., Templated]) -> None:
    pid, channel = template("bus.clock").imported().fork()
    channel.close()
    assert exit_code(pid) == 0


def test_what_was_forked_does_not_need_the_template_any_more(
    template: Callable[..., Templated], tmp_path: Path
) -> None:
    source = template("bus.broker.__main__").imported()
    pid, channel = source.fork()
    source.process.kill()
    source.process.wait()
    with channel:
        channel.sendall(role(tmp_path).to_line())
        assert exit_code(pid) == 78


def test_each_fork_has_its_own_chance(template: Callable[..., Templated], tmp_path: Path) -> None:
    """Of what was random before the fork nothing is the same after it."""
    (tmp_path / "dice.py").write_text(
        "import os, random, ssl\n"
        "class __main__:\n"
        "    @staticmethod\n"
        "    def main(arguments):\n"
        "        print(random.random(), ssl.RAND_bytes(8).hex(), flush=True)\n"
        "        return 0\n"
    )
    code = tmp_path / "rolls"
    code.mkdir()
    (code / "__init__.py").write_text("")
    (code / "__main__.py").write_text("from dice import __main__ as door\nmain = door.main\n")
    source = template("random", "ssl", "rolls.__main__").imported()
    said = []
    for number in range(2):
        pid, channel = source.fork()
        log = tmp_path / f"{number}.log"
        with channel:
            channel.sendall(Role("rolls", ("--name", "x"), str(log), {}).to_line())
            assert exit_code(pid) == 0, log.read_text()
        said += log.read_text().split()
    assert len(said) == len({*said}) == 4


def test_it_ends_with_its_supervisor(template: Callable[..., Templated]) -> None:
    source = template("bus.clock").imported()
    source.channel.close()
    assert source.process.wait(20) == 0


def test_a_changed_file_is_noticed(template: Callable[..., Templated], tmp_path: Path) -> None:
    code = tmp_path / "thing.py"
    code.write_text("A = 1\n")
    os.utime(code, (1_000_000_000, 1_000_000_000))
    source = template("thing").imported()
    assert source.ask(CHECK) == CURRENT
    code.write_text("A = 2\n")
    assert source.ask(CHECK) == CHANGED
    code.unlink()
    assert source.ask(CHECK) == CHANGED


def test_one_module_that_cannot_be_imported_is_left_to_whom_it_concerns(
    template: Callable[..., Templated], tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("this is no Python\n")
    source = template("broken", "bus.no_such_module", "bus.broker.__main__").imported()
    pid, channel = source.fork()
    with channel:
        channel.sendall(role(tmp_path).to_line())
        assert exit_code(pid) == 78
    assert "cannot import broken: SyntaxError" in source.log()
    assert "cannot import bus.no_such_module" in source.log()


def test_it_does_not_fork_beside_a_thread(
    template: Callable[..., Templated], tmp_path: Path
) -> None:
    (tmp_path / "busy.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    source = template("busy")
    assert source.process.wait(20) == 1
    assert "an import has started a thread" in source.log()


def test_what_is_slow_the_first_time_is_done_before(
    template: Callable[..., Templated], tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "def prepare():\n    import sys\n    sys.stderr.write('prepared\\n')\n"
    )
    source = template("slow").imported()
    assert source.log() == "prepared\n"


def test_the_modules_of_the_bus_start_no_thread(template: Callable[..., Templated]) -> None:
    doors = [f"bus.{name}.__main__" for name in ("broker", "feeds", "wsbridge", "simulator")]
    source = template("uvloop", *doors, "bus.feeds.binance.venue").imported()
    assert len(list(Path(f"/proc/{source.process.pid}/task").iterdir())) == 1
    assert source.log() == ""
    assert source.ask(CHECK) == CURRENT


def test_a_spare_has_its_memory_to_itself(template: Callable[..., Templated]) -> None:
    source = template("bus.broker.__main__").imported()
    plain, first = source.fork()
    spare, second = source.fork(FORK_SPARE)
    with first, second:
        wait_until(lambda: _own_kib(spare) > 4 * _own_kib(plain), 10)


def _own_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def test_files_are_current_until_they_change_or_are_younger_than_the_import(
    tmp_path: Path,
) -> None:
    file = tmp_path / "m.py"
    file.write_text("x")
    begun_ns = time.time_ns() + 10**9
    module = type(os)("m")
    module.__file__ = str(file)
    files = fingerprint([module, type(os)("built_in")])
    assert files.keys() == {str(file), os.path.realpath(sys.executable)}
    assert is_current(files, begun_ns)
    assert not is_current(files, file.stat().st_mtime_ns), "read before or after: who knows"
    replaced = tmp_path / "n.py"
    replaced.write_text("y")
    os.utime(replaced, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    replaced.replace(file)
    assert not is_current(files, begun_ns), "another file of the same size and time"
