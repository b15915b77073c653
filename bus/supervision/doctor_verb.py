"""``doctor``: looks at the machine and the settings, and says how to mend what is wrong."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bus.config import Settings, load
from bus.errors import ConfigError
from bus.supervision import exit_codes
from bus.supervision.doctor import (
    OK,
    WARNING,
    WRONG,
    Finding,
    local_findings,
    reach,
    venue_addresses,
    venue_keys,
)
from bus.supervision.documents import print_document
from bus.supervision.locate import config_file, run_dir_for, run_path_for, settings_for
from bus.supervision.lock import running_pid
from bus.supervision.premises import check_keys
from bus.supervision.run_directory import RunDirectory

_STYLES: Final = {OK: "green", WARNING: "yellow", WRONG: "bold red"}
_WIDE: Final = 160


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 when one is wrong, else 0, warnings included."""
    findings = list(examine(arguments))
    if arguments.json:
        rows = [dataclasses.asdict(finding) for finding in findings]
        print_document({"findings": rows})
    else:
        _show(findings)
    wrong = any(finding.verdict == WRONG for finding in findings)
    return exit_codes.FAILED if wrong else exit_codes.OK


def examine(arguments: argparse.Namespace) -> Iterator[Finding]:
    """All that can be found; settings that cannot be read are found wrong, and defaults used.

    When none are named they are those of the bus that runs, if one does.
    """
    if arguments.live:
        arguments.overrides = [*arguments.overrides, 'mode="live"']
    named = bool(arguments.config or arguments.overrides)
    pid = None if named else running_pid(run_dir_for(arguments))
    settings = Settings()
    try:
        if pid is not None:
            settings = load(RunDirectory(run_path_for(arguments)).effective_config)
            text = f"those in force, of the bus with pid {pid} ({settings.mode} mode)"
            yield Finding("settings", OK, text)
        else:
            settings = settings_for(arguments)
            check_keys(settings)
            yield Finding("settings", OK, str(config_file(arguments) or "all default"))
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("settings", WRONG, str(problem), "mdbus config check")
    yield from local_findings(settings)
    if not settings.simulated and pid is None:  # one that runs has an environment of its own
        yield from venue_keys(settings)
    yield from venues(settings, asked=arguments.venues)


def venues(settings: Settings, *, asked: bool) -> list[Finding]:
    """Whether the venues can be reached, all at once; in embedded mode only when asked."""
    if settings.simulated and not asked:
        return [Finding("venues", OK, "not needed in embedded mode (look with --venues)")]
    targets = [
        (f"feeds.{feed}", url)
        for feed, urls in venue_addresses(settings).items()
        for url in dict.fromkeys(urls)
    ]
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda target: reach(*target), targets))


def _show(findings: list[Finding]) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        text = Text(finding.text)
        if finding.mend:
            text.append(f"\n→ {finding.mend}", style="bold")
        table.add_row(Text(finding.verdict, style=_STYLES[finding.verdict]), finding.check, text)
    wide = console if console.is_terminal else Console(width=_WIDE)
    wide.print(table)
    count = {verdict: sum(f.verdict == verdict for f in findings) for verdict in (WARNING, WRONG)}
    warnings = "1 warning" if count[WARNING] == 1 else f"{count[WARNING]} warnings"
    wide.print(f"\n{count[WRONG]} wrong, {warnings}")
