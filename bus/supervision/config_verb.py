"""``config init|check|show``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bus.config.render import default_toml, to_toml
from bus.supervision import exit_codes
from bus.supervision.locate import DEFAULT_FILE, config_file, settings_for
from bus.supervision.token_keys import check_keys


def run_config(arguments: argparse.Namespace) -> int:
    """Write the commented default file, check a file, or show the settings in force."""
    of_user_manager: bool = arguments.systemd_user
    if arguments.what == "init" and (arguments.systemd or of_user_manager):
        from bus.supervision.systemd_unit import unit_file

        config = config_file(arguments) or DEFAULT_FILE
        text = unit_file(
            sys.executable,
            str(Path(config).absolute()),
            user="" if of_user_manager else _user(),
            of_user_manager=of_user_manager,
        )
        return _write(
            Path("mdbus.service"), text, "its first lines say how to install it", arguments.force
        )
    if arguments.what == "init":
        return _init(Path(arguments.config or DEFAULT_FILE), arguments.force)
    settings = settings_for(arguments)
    if arguments.what == "show":
        sys.stdout.write(to_toml(settings))
        return exit_codes.OK
    check_keys(settings)
    checked = config_file(arguments)
    sys.stdout.write(f"{checked}: ok\n" if checked else "no file, all defaults: ok\n")
    return exit_codes.OK


def _user() -> str:
    """Who is to run the service: whoever asks for it, whose Python this likely is; "" for root."""
    import pwd

    try:
        return "" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user without a name
        return str(os.getuid())


def _init(path: Path, force: bool) -> int:
    return _write(path, default_toml(), "check an edited one with: mdbus config check", force)


def _write(path: Path, text: str, advice: str, force: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        fd = os.open(path, flags, 0o644)
    except FileExistsError:
        sys.stderr.write(f"mdbus: {path} exists already (replace it with --force)\n")
        return exit_codes.FAILED
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    sys.stdout.write(f"wrote {path}; {advice}\n")
    return exit_codes.OK
