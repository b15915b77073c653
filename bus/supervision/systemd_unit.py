"""The unit file that ``config init --systemd`` writes."""

from __future__ import annotations

from typing import Final

from bus.supervision.control_client import SERVICE_PATH

_AS_ROOT: Final = """\
# Better than root, who it is without this line: useradd --system mdbus
# User=mdbus
"""
_SYSTEM_ONLY: Final = """\
# These take capabilities that the manager of a user does not have to give away.
CapabilityBoundingSet=
PrivateDevices=yes
ProtectClock=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
"""


def unit_file(python: str, config: str, *, user: str = "", of_user_manager: bool = False) -> str:
    """A systemd unit that runs the bus with the settings file ``config`` by this ``python``.

    As ``user``, or as root when that is empty; or, ``of_user_manager``, for ``systemctl --user``,
    which can neither change the user nor drop capabilities.
    """
    command = f"{_word(python)} -P -m bus.supervision"
    settings = _word(config)
    if of_user_manager:
        install = """\
# Install: copy it to ~/.config/systemd/user/mdbus.service, then
#   systemctl --user daemon-reload && systemctl --user enable --now mdbus
#   loginctl enable-linger        # else it ends when you log out
"""
        network = ""
        whose = ""
        status = "`mdbus status` finds it"
    else:
        install = """\
# Install: copy it to /etc/systemd/system/mdbus.service, then
#   systemctl daemon-reload && systemctl enable --now mdbus
"""
        network = "Wants=network-online.target\nAfter=network-online.target time-sync.target\n"
        whose = f"User={user}\n" if user else _AS_ROOT
        status = f"`mdbus status --run-dir {SERVICE_PATH}`"
    return f"""\
{install}
[Unit]
Description=mdbus market-data bus
{network}\
# Whatever keeps it from starting (a port that is still taken) may pass: never give up for good.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} up --config {settings}
ExecReload={command} reload --config {settings}
SyslogIdentifier=mdbus
# The supervisor's loop says that it turns; one that does not is killed (where it was stuck is in
# the journal) and started again, and nothing of the old bus is left: its processes die with it.
WatchdogSec=20
# Start and stop take as long as supervisor.ready_timeout_s and stop_deadline_s let them: the
# supervisor asks for more time while it gets on. These hold for one that says nothing.
TimeoutStartSec=60
TimeoutStopSec=90
Restart=on-failure
RestartSec=2
# Exit code 2 is wrong settings: another start would end the same way.
RestartPreventExitStatus=2
# The supervisor drains its processes itself, in order; what is left after that is killed.
KillMode=mixed
# One process killed for memory is the supervisor's to replace, not the end of the bus.
OOMPolicy=continue
LimitNOFILE=65536
{whose}\
# EnvironmentFile=/etc/mdbus.env        # FINNHUB_API_KEY=...

# Sockets, and what they belong to: {status}
Environment=MDBUS_RUN_DIR=%t/mdbus
RuntimeDirectory=mdbus
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
# Logs and events outlive a reboot: they are in %L/mdbus, where the run directory leads to.
LogsDirectory=mdbus
LogsDirectoryMode=0700
ExecStartPre=-/bin/ln -sfnT %L/mdbus %t/mdbus/log
UMask=0077

# It writes to its run directory, its logs and a /tmp of its own, nowhere else. For a run directory,
# a shared_dir or recordings in another place: ReadWritePaths=/var/lib/mdbus
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
{"" if of_user_manager else _SYSTEM_ONLY}\
DevicePolicy=closed
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged

[Install]
WantedBy={"default.target" if of_user_manager else "multi-user.target"}
"""


def _word(text: str) -> str:
    """One word of a command line, as systemd reads it."""
    text = text.replace("%", "%%").replace("$", "$$")
    if not any(character.isspace() or character in "\"'\\;" for character in text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
