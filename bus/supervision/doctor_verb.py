"""``doctor``: looks at the machine and the settings, and says how to mend what is wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Final

from bus.config import Settings, load
from bus.errors import ConfigError
from bus.supervision import exit_codes
from bus.supervision.argument_forms import columns
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
from bus.supervision.drawing import Cell, table_lines
from bus.supervision.locate import config_file, run_dir_for, run_path_for, settings_for
from bus.supervision.lock import running_pid
from bus.supervision.run_directory import RunDirectory
from bus.supervision.tables import wants_colour
from bus.supervision.token_keys import check_keys

_MOODS: Final = {OK: "good", WARNING: "odd", WRONG: "bad"}
_WIDE: Final = 160


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 when one is wrong, else 0, warnings included."""
    findings = list(examine(arguments))
    if arguments.json:
        rows = [finding._asdict() for finding in findings]
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
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda target: reach(*target), targets))


def _show(findings: list[Finding]) -> None:
    table = []
    for finding in findings:
        verdict = Cell(finding.verdict, _MOODS[finding.verdict])
        table.append([verdict, Cell(finding.check), Cell(finding.text)])
        if finding.mend:
            table.append([Cell(""), Cell(""), Cell(f"→ {finding.mend}", "strong")])
    width = columns() if sys.stdout.isatty() else _WIDE
    lines = table_lines(table, width, colour=wants_colour(sys.stdout))
    count = {verdict: sum(f.verdict == verdict for f in findings) for verdict in (WARNING, WRONG)}
    warnings = "1 warning" if count[WARNING] == 1 else f"{count[WARNING]} warnings"
    sys.stdout.write("\n".join([*lines, "", f"{count[WRONG]} wrong, {warnings}", ""]))
