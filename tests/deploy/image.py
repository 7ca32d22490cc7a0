"""Builds the image of `deploy/Containerfile` as a plain root directory, and runs programs in it.

No base image is fetched: /usr, /etc and this Python (as /usr/local) of this machine take its place, read-only. It needs
root, and a kernel that lets it mount.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.files import ROOT, instructions

_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_FOLDERS = ("usr", "etc", "proc", "dev", "tmp", "opt")
_ENTER = """
root=$1 python=$2 graphs=$3 mode=$4
shift 4
mount --bind "$root" "$root"
for shared in usr etc; do
  mount --bind "/$shared" "$root/$shared"
  mount -o remount,bind,ro "$root/$shared"
done
if [ "$python" != /usr ]; then
  mount --bind "$python" "$root/usr/local"
  mount -o remount,bind,ro "$root/usr/local"
fi
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
if [ -n "$graphs" ]; then
  mount --bind "$graphs" "$root/graphs"
  mount -o remount,bind,ro "$root/graphs"
fi
if [ "$mode" = ro ]; then
  mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/tmp"
  mount -o remount,bind,ro "$root"
fi
exec chroot "$root" "$@"
"""
_WITHOUT_RIGHTS = ("--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")
_WHERE_PIP_LOOKS = ("PIP_", "SSL_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "no_proxy")


def allowed() -> list[str]:
    """What of the repository a builder is given."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    return [rule[1:] for rule in rules if rule.startswith("!")]


def cannot_be_built() -> str | None:
    """Why no image can be built here."""
    if os.geteuid() != 0:
        return "only root may mount a root directory"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else f"this machine lets nobody mount: {tried.stderr.decode().strip()}"


@dataclass(slots=True)
class Image:
    """A root directory, and what the Containerfile says of the process in it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def command(
        self, *arguments: str, environment: Mapping[str, str] | None = None, graphs: Path | None = None
    ) -> list[str]:
        """The words that start it as a container with a read-only root; without `arguments` those of the image."""
        return self.running([*self.entrypoint, *(arguments or self.arguments)], environment or {}, graphs)

    def running(self, words: Sequence[str], environment: Mapping[str, str], graphs: Path | None = None) -> list[str]:
        """The words that start any program so."""
        user, group = self.user.split(":")
        return [
            *_entering(self.root, graphs, "ro"),
            *("setpriv", f"--reuid={user}", f"--regid={group}", *_WITHOUT_RIGHTS),
            *self._env(environment),
            *words,
        ]

    def _build(self, command: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if name.startswith(_WHERE_PIP_LOOKS)}
        words = [*_entering(self.root, None, "rw"), *self._env({"HOME": "/tmp", **inherited}), "sh", "-ec", command]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    def _env(self, environment: Mapping[str, str]) -> list[str]:
        found = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": "/usr/local/lib",
            **self.environment,
            **environment,
        }
        return ["env", "-i", "-C", self.folder, *(f"{name}={value}" for name, value in found.items())]


def _entering(root: Path, graphs: Path | None, mode: str) -> list[str]:
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _ENTER, "enter"]
    return [*words, str(root), sys.base_prefix, str(graphs or ""), mode]


def build(folder: Path) -> Image:
    """Do what the Containerfile says, stage by stage; the last one."""
    images: list[Image] = []
    stages: dict[str, Image] = {}
    for name, rest in instructions():
        if name == "FROM":
            images.append(Image(_bare(folder / str(len(images)))))
            stages[rest.split()[-1]] = images[-1]
        elif images:
            _do(name, rest, images[-1], stages)
    return images[-1]


def _bare(root: Path) -> Path:
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    for name, target in _LINKS.items():
        (root / name).symlink_to(target)
    root.chmod(0o755)
    return root


def _do(name: str, rest: str, image: Image, stages: Mapping[str, Image]) -> None:
    match name:
        case "WORKDIR":
            image.folder = rest
            (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "RUN":
            image._build(rest)
        case "COPY":
            _copy(rest.split(), image, stages)
        case "ENV":
            image.environment |= dict(re.findall(r"(\w+)=(\S+)", rest))
        case "USER":
            image.user = rest
        case "ENTRYPOINT":
            image.entrypoint = json.loads(rest)
        case "CMD":
            image.arguments = json.loads(rest)
        case _:
            assert name in {"LABEL", "STOPSIGNAL"}, f"{name}: the test does not know what this does"


def _copy(words: list[str], image: Image, stages: Mapping[str, Image]) -> None:
    """From another stage, or from the repository into the working directory."""
    if words[0].startswith("--from="):
        _, source, target = words
        path = stages[words[0].removeprefix("--from=")].root / source.lstrip("/")
        shutil.move(path, image.root / target.lstrip("/"))
        return
    (source, target), into = words, image.root / image.folder.lstrip("/")
    for name in allowed() if source == "." else [source]:
        path = into / (name if source == "." else target)
        path.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            junk = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / name, path, symlinks=True, ignore=junk)
        else:
            shutil.copy2(ROOT / name, path)
