"""asyncio without TLS: it works, and TLS can be had by whoever imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
from bus.supervision.lean import import_asyncio

print(import_asyncio(), "_ssl" in sys.modules, import_asyncio())
import asyncio

async def main():
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), sys.argv[1])
    reader, writer = await asyncio.open_unix_connection(sys.argv[1])
    print(await reader.read())
    writer.close()
    server.close()

asyncio.run(main())
import ssl
print(ssl.create_default_context().check_hostname)
"""


def test_a_program_has_asyncio_and_no_tls_until_it_asks(run_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(run_dir / "s")],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True False False", "b''", "True"]
