"""storemesh in the side-by-side harness (Adapter and Ctx are the harness's, lib/core.py there).

One HQ and N terminals as their users start them: the store is added, every terminal is invited and
joins, all run and know each other before the clock. The update is uploaded before it with
`release publish --hold`, since cutting is HQ's preparation; the clock starts with `release start`.
A terminal is done when its `current` points at the new version: the node moves that link only when
every byte is verified and on disk. STOREMESH_BIN names the folder of the two programs, or one of
them (the other beside it); without it the dev build of this repository is measured.
"""

import json
import os
import subprocess
import time
from pathlib import Path

from lib.core import Adapter

PRODUCT = "update"
OLD, NEW = "1", "2"
READY_S = 120  # nobody measures this; it only ends a run that would never begin


def programs():
    """The folder that holds `storemesh` and `storemesh-hq`."""
    built = Path(__file__).resolve().parent.parent / "target" / "debug"
    given = Path(os.environ.get("STOREMESH_BIN") or built).resolve()
    return given if given.is_dir() else given.parent


class Storemesh(Adapter):
    """our own node; terminals find each other and choose their gateway by themselves"""

    name = "storemesh"
    daemon = True

    def available(self):
        missing = [p for p in ("storemesh", "storemesh-hq") if not (programs() / p).exists()]
        return f"{' and '.join(missing)} not in {programs()}" if missing else None

    # ---- before the clock --------------------------------------------------

    def prepare(self):
        self.c.run("hq", self._hq("init", "--chain", "bench", "--root-key", self.c.dir("hq") / "bench.root.age"),
                   log="commands", env={**os.environ, "STOREMESH_ROOT_PASSPHRASE": "a bench, not a chain"})
        # By address family: the harness's namespaces have no IPv6.
        self.c.spawn("hq", self._hq("serve", "--listen", "0.0.0.0", "--advertise", f"{self.c.ip('hq')}:7400"),
                     log="serve")
        self._until("hq serves", lambda: self._ask("hq", self._hq("release", "list")) is not None)
        self.c.run("hq", self._hq("store", "add", "shop"), log="commands")
        if self.c.old:
            self._publish(self.c.base("hq").parent, OLD)
        self._publish(self.c.src().parent, NEW, "--hold")

    def start_terminal(self, t):
        code = self._ask("hq", self._hq("store", "invite", "shop"))["code"]
        self.c.run(t, self._terminal(t, "join", code, "--name", t), log="commands")
        # The harness reads the result here; the link leads nowhere until the release is there.
        self.c.out(t).symlink_to(self._current(t) / "update.bin")
        self.c.spawn(t, self._terminal(t, "run", "--listen", "0.0.0.0"), log="run")

    def ready(self):
        for t in self.c.terminals:
            self._until(f"{t} has its neighbours, a gateway and the old version", lambda: self._connected(t))

    def _connected(self, t):
        status = self._ask(t, self._terminal(t, "status"))
        return (status is not None and status["neighbours"] == self.c.n - 1 and status["gateway"] is not None
                and (not self.c.old or self._runs(t, OLD)))

    # ---- the clock ---------------------------------------------------------

    def release(self):
        self.c.run("hq", self._hq("release", "start", PRODUCT, NEW), log="commands")

    def is_done(self, t):
        return self._runs(t, NEW)

    def extra(self):
        """How the terminals themselves counted it: bytes of verified chunks, and their seconds."""
        stats = [self._ask(t, self._terminal(t, "status")) for t in self.c.terminals]
        releases = [r for s in stats if s for r in s["releases"] if r["product"] == PRODUCT]
        return {
            "chunk_bytes_from_hq": sum(r["bytes_from_hq"] for r in releases),
            "chunk_bytes_from_neighbours": sum(r["bytes_from_neighbours"] for r in releases),
            "took_ms_max": max((r["took_ms"] or 0 for r in releases), default=None),
        }

    # ---- helpers -----------------------------------------------------------

    def _hq(self, *args):
        return [programs() / "storemesh-hq", "--data", self.c.dir("hq") / "data", "--json", *args]

    def _terminal(self, t, *args):
        return [programs() / "storemesh", "--data", self.c.dir(t) / "data", "--json", *args]

    def _publish(self, folder, version, *flags):
        self.c.run("hq", self._hq("release", "publish", folder, "--product", PRODUCT, "--version", version, *flags),
                   log="commands")

    def _current(self, t):
        return self.c.dir(t) / "data" / "releases" / PRODUCT / "current"

    def _runs(self, t, version):
        try:
            return Path(os.readlink(self._current(t))).name.startswith(f"{version}-")
        except FileNotFoundError:
            return False

    def _ask(self, node, argv):
        """What a command prints as JSON, or None when it fails. In the node's namespace, as the admin API is on loopback."""
        argv = ["nsenter", f"--net=/run/netns/{self.c.net.ns(node)}", *map(str, argv)]
        with open(self.c.dir(node) / "asked.log", "ab") as log:
            r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
        return json.loads(r.stdout) if r.returncode == 0 else None

    def _until(self, what, holds):
        end = time.monotonic() + READY_S
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {READY_S} s, see {self.c.root}")
            time.sleep(0.1)
