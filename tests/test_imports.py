"""The house's one law: imports go down only, and never reach for a neighbour's private names."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import malmoi

ROOT = Path(malmoi.__file__).parent
FLOORS = [
    "cli", "serve", "tune", "recipes", "pipeline", "compress", "evaluate", "generate", "formats", "train", "parallel", "objectives",
    "models", "layers", "data", "tokenizers", "corpus", "sources", "core",
]  # fmt: skip


def imported_names() -> Iterator[tuple[Path, str, str]]:
    """Every `from malmoi.X.Y import name` and `import malmoi.X.Y` of the source: file, module, name."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("malmoi."):
                for alias in node.names:
                    yield path, node.module, alias.name
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith("malmoi."):
                        yield path, alias.name, ""


def test_imports_go_down_only():
    wrong = []
    for path, module, _ in imported_names():
        here, there = path.relative_to(ROOT).parts[0], module.split(".")[1]
        if here in FLOORS and FLOORS.index(there) < FLOORS.index(here):
            wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_every_package_has_its_floor():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(FLOORS)


def test_private_names_stay_private():
    wrong = [f"{path.relative_to(ROOT)} imports {name} of {module}" for path, module, name in imported_names()
             if name.startswith("_") or any(part.startswith("_") for part in module.split("."))]  # fmt: skip
    assert wrong == []


def test_models_know_nothing_of_processes():
    files = [path for floor in ("models", "layers", "objectives", "data") for path in (ROOT / floor).rglob("*.py")]
    assert [path.name for path in files if "torch.distributed" in path.read_text(encoding="utf-8")] == []


def test_importing_malmoi_and_its_command_line_needs_no_torch():
    script = (
        "import sys, malmoi, malmoi.cli.main\n"
        "heavy = {'torch', 'pydantic', 'pyarrow', 'plotly'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_the_trainer_and_making_and_opening_a_model_load_no_compiler(tmp_path, tokenizer):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "import malmoi.train.trainer\n"
        "from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint\n"
        "from malmoi.models.image_registry import IMAGE_FAMILIES, meta_image_model\n"
        "from malmoi.models.presets import PRESETS\n"
        "from malmoi.models.registry import build_model, language_models, meta_model\n"
        "from malmoi.tokenizers.load import load_tokenizer\n"
        "for config in PRESETS.values(): meta_model(config)\n"
        "for kind, _ in IMAGE_FAMILIES.values(): meta_image_model(kind())\n"
        "place, tokenizer = Path(sys.argv[1]), load_tokenizer(Path(sys.argv[1]))\n"
        "for kind in language_models().values():\n"
        "    context = {'context': 32} if kind.model_fields['context'].is_required() else {}\n"
        "    config = kind(**{'vocabulary': tokenizer.size, **context, **kind.sized(2, 64)})\n"
        "    save_checkpoint(place / 'model', build_model(config, 0), tokenizer, '')\n"
        "    load_checkpoint(place / 'model')\n"
        "heavy = {'sympy', 'torch._dynamo', 'torch._inductor'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    tokenizer.save(tmp_path)
    command = [sys.executable, "-c", script, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_building_a_corpus_needs_no_torch():
    script = "import sys, malmoi.pipeline.stages.corpus\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
