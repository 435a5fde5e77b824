# SPDX-License-Identifier: GPL-3.0-or-later
"""The house's own rules: who may import whom, what never runs, and what the extension's zips carry."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("core", "addon", "trainer")
SOURCES = [
    ROOT / "__init__.py",
    ROOT / "launch.py",
    *(p for part in PARTS for p in sorted((ROOT / part).rglob("*.py"))),
]
FOREIGN = {
    "core": {"bpy", "bmesh", "mathutils", "gpu", "blf", "torch", "torchvision", "safetensors", "addon", "trainer"},
    "addon": {"torch", "torchvision", "safetensors", "trainer"},
    "trainer": {"bpy", "bmesh", "mathutils", "gpu", "blf", "addon"},
}


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports; relative imports of a sister part count by its name."""
    found: set[str] = set()
    part = path.relative_to(ROOT).parts[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            depth = len(path.relative_to(ROOT).parts) - 1
            if node.level > depth:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                found |= {name.split(".")[0] for name in names if name}
            else:
                found.add(part)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_imports_run_one_way(part: str) -> None:
    for path in (ROOT / part).rglob("*.py"):
        assert not imports(path) & FOREIGN[part], path
        assert "robot_keypoints" not in imports(path), f"{path} imports the package by its pip name"


RANKS: dict[str, tuple[str, ...]] = {
    "core": (
        "errors names",
        "files input_files blend_file run_folder step_times builtin_models srgb",
        "robot camera",
        "meshes",
        "scene",
        "settings",
        "messages",
        "processes",
    ),
    "addon": ("base", "robot", "properties", "stage prediction", "worker footage", "services", "ui", "registration"),
    "trainer": (
        "maps reports",
        "images",
        "networks datasets",
        "pose",
        "inference",
        "footage",
        "evaluation",
        "run_data",
        "training",
        "experiments",
        "commands",
    ),
}
"""By part: its packages (and modules that stand alone), lowest first. Each imports only those of earlier groups."""

APART = {("commands", "training")}
"""What does not import one another for all that: commands start the trainer as a process of its own."""


def internal(path: Path) -> dict[str, int]:
    """Modules and packages of ours that a file imports, also within functions, by dotted name; the line of each."""
    here = path.relative_to(ROOT).parts[:-1]
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level + 1], *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                place = ROOT.joinpath(*base, alias.name)
                known = place.is_dir() or place.with_suffix(".py").is_file()
                found.setdefault(".".join([*base, alias.name] if known else base), node.lineno)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_a_package_imports_only_packages_before_it(part: str) -> None:
    rank = {name: i for i, group in enumerate(RANKS[part]) for name in group.split()}
    for path in sorted((ROOT / part).rglob("*.py")):
        own = path.relative_to(ROOT / part).with_suffix("").parts[0]
        if own == "__init__":
            continue
        assert own in rank, f"{path} has no place in the order of packages: see RANKS"
        for module, line in internal(path).items():
            tree, *names = module.split(".")
            if tree == part and names and names[0] != own:
                assert rank[names[0]] < rank[own], f"{path}:{line} imports {module}, which is not below {own}"
                assert (own, names[0]) not in APART, f"{path}:{line} imports {module}"


def test_no_circle_of_imports() -> None:
    graph = {".".join(p.relative_to(ROOT).with_suffix("").parts): set(internal(p)) for p in SOURCES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names them


def test_the_core_imports_without_bpy_and_torch() -> None:
    code = (
        "import sys, pkgutil, importlib, robot_keypoints.core as core\n"
        "for m in pkgutil.walk_packages(core.__path__, 'robot_keypoints.core.'): importlib.import_module(m.name)\n"
        "print([m for m in ('bpy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_that_comes_in_is_executed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: GPL-3.0-or-later"), path
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), f"{path}:{node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path
        if isinstance(node, ast.Call) and any(
            k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords
        ):
            pytest.fail(f"{path}:{node.lineno} starts a shell")
        if isinstance(node, ast.ExceptHandler):
            swallows = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            assert not (swallows and broad), f"{path}:{node.lineno} hides every fault"
    assert not imports(path) & {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}, path


# ------------------------------------------------------------------------------------------------------------- zips


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_extension", ROOT / "tools" / "build_extension.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_locked_wheels_cover_every_platform_and_python(builder: ModuleType) -> None:
    wheels = builder.read_lock()
    for platform in builder.PLATFORMS:
        builder.check_coverage(platform, [w for w in wheels if platform in w.platforms])


@pytest.mark.parametrize("missing", ["pyyaml", "pyzmq", "xacro"])
def test_a_missing_wheel_ends_the_build(builder: ModuleType, missing: str) -> None:
    wheels = [w for w in builder.read_lock() if "linux-x64" in w.platforms]
    victim = next(w for w in wheels if w.file.startswith(missing))
    with pytest.raises(builder.BuildError, match=f"no wheel of {missing}=="):
        builder.check_coverage("linux-x64", [w for w in wheels if w is not victim])


def test_what_the_lock_names_is_what_the_code_needs(builder: ModuleType) -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {w.split(">")[0].split("=")[0] for w in wanted}
    carried = {r.split("==")[0] for r in builder.REQUIREMENTS}
    assert names - carried <= {"numpy", "pillow"}, "a library would be missing inside Blender"
    third_party = set().union(*(imports(p) for part in ("core", "addon") for p in (ROOT / part).rglob("*.py")))
    third_party -= set(sys.stdlib_module_names) | {"core", "addon", "robot_keypoints"}
    blender = {"bpy", "bpy_extras", "bmesh", "mathutils", "gpu", "gpu_extras", "blf", "imbuf", "numpy", "idprop"}
    assert third_party <= blender | {"zmq", "xacro", "yaml", "tomli_w"}


def test_a_wheel_that_differs_ends_the_build(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "CACHE", tmp_path)
    wheel = next(w for w in builder.read_lock() if w.file.startswith("tomli_w"))
    (tmp_path / wheel.file).write_bytes(b"something else")

    def impostor(_arguments: list[str], _platform: str, _python: str, folder: Path) -> None:
        (folder / wheel.file).write_bytes(b"something else again")

    monkeypatch.setattr(builder, "download", impostor)
    with pytest.raises(builder.BuildError, match="is not what"):
        builder.fetch(wheel, "linux-x64")


def test_retagged_wheels_stay_wheels(builder: ModuleType, tmp_path: Path) -> None:
    import base64
    import hashlib

    name, info = "thing-1.0-cp312-abi3-win_amd64.whl", "thing-1.0.dist-info"
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing.py", "x = 1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: cp312-abi3-win_amd64\n")
        archive.writestr(f"{info}/RECORD", f"thing.py,,\n{info}/WHEEL,sha256=old,3\n{info}/RECORD,,\n")
    file, data = builder.retagged(name, path.read_bytes(), "cp313.cp314-none-win_amd64.whl")
    assert file == "thing-1.0-cp313.cp314-none-win_amd64.whl"
    (tmp_path / file).write_bytes(data)
    with zipfile.ZipFile(tmp_path / file) as archive:
        wheel = archive.read(f"{info}/WHEEL")
        assert archive.read("thing.py") == b"x = 1\n"
        record = archive.read(f"{info}/RECORD").decode().splitlines()
    assert wheel.decode().splitlines()[1:] == ["Tag: cp313-none-win_amd64", "Tag: cp314-none-win_amd64"]
    checksum = base64.urlsafe_b64encode(hashlib.sha256(wheel).digest()).rstrip(b"=").decode()
    assert record == ["thing.py,,", f"{info}/WHEEL,sha256={checksum},{len(wheel)}", f"{info}/RECORD,,"]


def test_the_zip_holds_what_the_extension_needs_and_no_more(builder: ModuleType) -> None:
    contents = builder.sources()
    for name in ("__init__.py", "launch.py", "pyproject.toml", "LICENSE", "assets/ur10_simple.urdf"):
        assert name in contents
    assert {"core/processes/session.py", "addon/worker/process.py", "trainer/networks/factory.py"} <= contents.keys()
    tops = {name.split("/")[0] for name in contents}
    assert tops <= {*builder.FILES, *builder.FOLDERS}
    assert not [n for n in contents if "__pycache__" in n or n.endswith((".pyc", ".whl")) or "/." in n]


def test_versions_agree_and_the_manifest_keeps_blenders_limits(builder: ModuleType) -> None:
    contents = builder.sources() | {"blender_manifest.toml": (ROOT / "blender_manifest.toml").read_bytes()}
    builder.check_versions(contents)
    contents["pyproject.toml"] = contents["pyproject.toml"].replace(b'version = "', b'version = "9', 1)
    with pytest.raises(builder.BuildError, match="versions differ"):
        builder.check_versions(contents)
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["id"] == "robot_keypoints" and manifest["blender_version_min"] == "4.2.0"
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    for text in (manifest["tagline"], *manifest["permissions"].values()):
        assert len(text) <= 64 and not text.endswith((".", "!", ";"))
