# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the installable zips of the extension, one per platform, into dist/.

    python tools/build_extension.py                      every platform
    python tools/build_extension.py --platform linux-x64 one of them
    python tools/build_extension.py --update             choose wheels anew and rewrite tools/wheels.toml

Needs pip and nothing else. Every wheel is named in tools/wheels.toml with its SHA-256; one that is missing or differs
ends the build. The same sources and wheels give the same zip, byte for byte.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "tools" / "wheels.toml"
CACHE = ROOT / "build" / "wheels"
DIST = ROOT / "dist"

PYTHONS = ("3.11", "3.13", "3.14")
"""Blender 4.2 to 5.0; 5.1 and Debian's 4.3; Debian's 5.2."""

PLATFORMS = {
    "linux-x64": [f"manylinux_2_{n}_x86_64" for n in (28, 27, 26, 24, 17)] + ["manylinux2014_x86_64"],
    "windows-x64": ["win_amd64"],
    "macos-arm64": ["macosx_11_0_arm64"],
    "macos-x64": ["macosx_10_15_x86_64"],
}
"""Blender's name of a platform and the wheel tags that the oldest Blender on it accepts."""

REQUIREMENTS = (
    "pyzmq==27.3.0",
    "tomli-w==1.2.0",
    "xacro==2.1.1",
    "pyyaml==6.0.3",
)
"""What core/ and addon/ import inside Blender, which brings numpy itself."""

FILES = ("__init__.py", "launch.py", "pyproject.toml", "README.md", "LICENSE")
FOLDERS = ("core", "addon", "trainer", "assets")

Found = dict[str, tuple[str, set[str]]]
"""By file name: SHA-256 and platforms."""


class BuildError(Exception):
    """One sentence on why no zip was made."""


@dataclass(frozen=True)
class Wheel:
    """One locked wheel; ``retag`` holds the tags that it carries inside the zip, if others."""

    file: str
    sha256: str
    platforms: tuple[str, ...]
    retag: str = ""

    @property
    def requirement(self) -> str:
        """``name==version``."""
        name, version = self.file.split("-")[:2]
        return f"{name.replace('_', '-')}=={version}"

    @property
    def python(self) -> str:
        """A Python version that takes it."""
        return min((p for p in PYTHONS if _takes(self.file, p)), default="", key=PYTHONS.index)


def main() -> int:
    """0 when every zip was made, 1 with one sentence otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--platform", action="append", choices=PLATFORMS, help="only this platform (may be repeated)")
    parser.add_argument("--update", action="store_true", help="choose wheels anew and rewrite tools/wheels.toml")
    options = parser.parse_args()
    try:
        if options.update:
            update()
        wheels = read_lock()
        for platform in options.platform or PLATFORMS:
            build(platform, [w for w in wheels if platform in w.platforms])
    except BuildError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


def build(platform: str, wheels: list[Wheel]) -> Path:
    """Make one zip and print what weighs what."""
    check_coverage(platform, wheels)
    contents = sources()
    carried = {}
    for wheel in wheels:
        data = fetch(wheel, platform).read_bytes()
        file = wheel.file
        if wheel.retag:
            file, data = retagged(file, data, wheel.retag)
        carried[f"wheels/{file}"] = data
    contents |= carried
    manifest = (ROOT / "blender_manifest.toml").read_text(encoding="utf-8")
    manifest_lists = f'platforms = ["{platform}"]\nwheels = [\n' + "".join(f'  "./{w}",\n' for w in sorted(carried))
    # Before the first table, or these keys would become part of it.
    head, table, tail = manifest.partition("\n[permissions]")
    contents["blender_manifest.toml"] = f"{head}\n{manifest_lists}]\n{table}{tail}".encode()
    check_versions(contents)

    DIST.mkdir(exist_ok=True)
    version = tomllib.loads(manifest)["version"]
    target = DIST / f"robot_keypoints-{version}-{platform.replace('-', '_')}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[name])
    weigh(target)
    return target


def sources() -> dict[str, bytes]:
    """The extension's own files by their place in the zip."""
    paths = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        paths += [p for p in (ROOT / folder).rglob("*") if p.is_file()]
    found = {}
    for path in paths:
        place = path.relative_to(ROOT)
        if any(part.startswith(".") or part == "__pycache__" for part in place.parts):
            continue
        if not path.is_file():
            raise BuildError(f"{place} is missing from the checkout")
        found[place.as_posix()] = path.read_bytes()
    return found


def check_versions(contents: dict[str, bytes]) -> None:
    """The manifest, the package and pyproject.toml must agree."""
    manifest = tomllib.loads(contents["blender_manifest.toml"].decode())["version"]
    project = tomllib.loads(contents["pyproject.toml"].decode())["project"]["version"]
    package = next(
        ast.literal_eval(node.value)
        for node in ast.parse(contents["__init__.py"]).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    )
    if not manifest == project == package:
        raise BuildError(
            f"the versions differ: {manifest} in the manifest, {project} in pyproject.toml, {package} in __init__.py"
        )


def check_coverage(platform: str, wheels: list[Wheel]) -> None:
    """Exactly one wheel of every library for every Python."""
    for requirement in REQUIREMENTS:
        for python in PYTHONS:
            fitting = [w.file for w in wheels if w.requirement == requirement and takes(w, python)]
            if len(fitting) != 1:
                found = f"are {len(fitting)} wheels" if fitting else "is no wheel"
                raise BuildError(
                    f"there {found} of {requirement} for Python {python} on {platform} in {LOCK.name}: run --update"
                )
    strangers = {w.requirement for w in wheels} - set(REQUIREMENTS)
    if strangers:
        raise BuildError(f"{LOCK.name} names {', '.join(sorted(strangers))}, which the extension does not need")


def takes(wheel: Wheel, python: str) -> bool:
    """Whether Blender installs this wheel, as named inside the zip, into Python ``python`` and it then runs."""
    name = "-".join([*wheel.file.split("-")[:2], wheel.retag]) if wheel.retag else wheel.file
    return _takes(name, python)


def _takes(file: str, python: str) -> bool:
    tags = file.removesuffix(".whl").split("-")[-3].split(".")
    return "py3" in tags or f"cp{python.replace('.', '')}" in tags


# ---------------------------------------------------------------------------------------------------------- wheels


def read_lock() -> list[Wheel]:
    """The wheels of tools/wheels.toml."""
    try:
        entries = tomllib.loads(LOCK.read_text(encoding="utf-8"))["wheel"]
        return [Wheel(e["file"], e["sha256"], tuple(e["platforms"]), e.get("retag", "")) for e in entries]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as problem:
        raise BuildError(f"{LOCK} can't be used ({problem}): run --update") from problem


def fetch(wheel: Wheel, platform: str) -> Path:
    """The wheel's file, downloaded unless it is here already, its hash checked either way."""
    path = CACHE / wheel.file
    if path.is_file() and digest(path) == wheel.sha256:
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        line = f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n"
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(line, encoding="utf-8")
        download(["--require-hashes", "-r", str(requirements)], platform, wheel.python or "3.13", Path(folder))
        got = Path(folder) / wheel.file
        if not got.is_file() or digest(got) != wheel.sha256:
            raise BuildError(f"{wheel.file} is not what {LOCK.name} names: run --update and look at what changed")
        return got.replace(path)


def download(arguments: list[str], platform: str, python: str, folder: Path) -> None:
    """``pip download`` of wheels alone."""
    tags = [item for tag in PLATFORMS[platform] for item in ("--platform", tag)]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--no-deps", "--dest", str(folder),
        "--implementation", "cp", "--python-version", python, *tags, *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = "; ".join(errors) or done.stderr.strip()[-400:]
        raise BuildError(f"a wheel for Python {python} on {platform} could not be downloaded: {reason}")


def update() -> None:
    """Choose the wheels of all REQUIREMENTS and write the lock file."""
    found: Found = {}
    for platform in PLATFORMS:
        for python in PYTHONS:
            with tempfile.TemporaryDirectory() as folder:
                download(list(REQUIREMENTS), platform, python, Path(folder))
                CACHE.mkdir(parents=True, exist_ok=True)
                for path in sorted(Path(folder).glob("*.whl")):
                    found.setdefault(path.name, (digest(path), set()))[1].add(platform)
                    (CACHE / path.name).write_bytes(path.read_bytes())
            print(f"chosen for Python {python} on {platform}", file=sys.stderr)
    lines = [
        "# The wheels that the extension's zips carry. Written by: python tools/build_extension.py --update",
        "# `retag`: Blender refuses an abi3 wheel beside one for an exact Python; under these tags it takes it.",
    ]
    for file, (sha256, platforms) in sorted(found.items()):
        lines += ["", "[[wheel]]", f'file = "{file}"', f'sha256 = "{sha256}"']
        lines.append(f"platforms = [{', '.join(repr(p) for p in PLATFORMS if p in platforms)}]".replace("'", '"'))
        python, abi, places = file.removesuffix(".whl").split("-")[-3:]
        if abi == "abi3":
            names = [f"cp{p.replace('.', '')}" for p in PYTHONS]
            later = ".".join(n for n in names if int(n.removeprefix("cp3")) >= int(python.removeprefix("cp3")))
            lines.append(f'retag = "{later}-none-{places}.whl"')
    LOCK.write_text("\n".join(lines) + "\n", encoding="utf-8")


def retagged(file: str, data: bytes, tags: str) -> tuple[str, bytes]:
    """A wheel under other tags: its name, its ``WHEEL`` file and the line of that file in ``RECORD`` change."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before", Path(folder) / "after"
        before.write_bytes(data)
        with zipfile.ZipFile(before) as source, zipfile.ZipFile(after, "w", zipfile.ZIP_DEFLATED) as target:
            info = next(n.removesuffix("/WHEEL") for n in source.namelist() if n.endswith(".dist-info/WHEEL"))
            pythons, abi, places = tags.removesuffix(".whl").split("-")
            lines = [x for x in source.read(f"{info}/WHEEL").decode().splitlines() if x and not x.startswith("Tag:")]
            lines += [f"Tag: {p}-{abi}-{place}" for p in pythons.split(".") for place in places.split(".")]
            changed = ("\n".join(lines) + "\n").encode()
            checksum = base64.urlsafe_b64encode(hashlib.sha256(changed).digest()).rstrip(b"=").decode()
            for item in source.infolist():
                content = source.read(item)
                if item.filename == f"{info}/WHEEL":
                    content = changed
                elif item.filename == f"{info}/RECORD":
                    rows = content.decode().splitlines()
                    own = f"{info}/WHEEL,sha256={checksum},{len(changed)}"
                    content = ("\n".join(own if r.startswith(f"{info}/WHEEL,") else r for r in rows) + "\n").encode()
                target.writestr(item, content)
        return "-".join([*file.split("-")[:2], tags]), after.read_bytes()


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weigh(path: Path) -> None:
    """Print a zip's size, and what in it weighs most."""
    shares: dict[str, int] = {}
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            top, _, rest = item.filename.partition("/")
            share = rest.split("-")[0] if top == "wheels" else f"{top}/" if rest else "own files"
            shares[share] = shares.get(share, 0) + item.compress_size
    parts = ", ".join(f"{k} {v / 1e6:.2f}" for k, v in sorted(shares.items(), key=lambda kv: -kv[1]))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB ({parts})")


if __name__ == "__main__":
    sys.exit(main())
