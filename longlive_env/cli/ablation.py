"""`longlive eval --ablation`: compare a world with variants without parts of the recipe, on a page."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from longlive_env.cli.writable import check_writable
from longlive_env.errors import ConfigError

if TYPE_CHECKING:
    from longlive_env.ablation import Study
    from longlive_env.evaluate import EvalConfig


def run(args: argparse.Namespace, config: EvalConfig) -> int:
    """Measure what is missing, and write ablation.json and the page after each round of the variants."""
    from longlive_env.ablation import Study, StudyConfig, page, tables, with_worlds
    from longlive_env.provenance import provenance

    file, docs = args.out / "ablation.json", args.docs or args.out
    check_writable(file, docs / "world-quality.md")
    about = provenance(args.device)
    whole = re.sub(r" --only( ('[^']*'|[^-]\S*))+", "", about["command"])  # writes the page at the end
    long_rollouts = args.long_rollouts or args.rollouts
    study = Study(
        args.out,
        StudyConfig(args.world, config, args.long, long_rollouts, args.device, args.dtype),
        with_worlds(Path(args.world).name, _named(args.other)),
    )

    def write() -> Path:
        variants = [one.to_json() for one in study.results()]
        written = {
            "world": args.world,
            "written": about,
            "measured": page.origins(study),
            "seed": config.seed,
            "variants": variants,
        }
        file.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
        return page.write(docs, study, whole, _report(args.out, study))

    with tqdm(total=study.blocks_left(args.only), desc="ablation", unit="block", disable=None) as bar:
        study.run(args.only, on_block=bar.update, on_round=write)
    print(tables.summary(study.results()))
    written = write()
    print(f"report: {file}\npage:   {written}")
    return 0


def _named(pairs: list[str]) -> dict[str, str]:
    """Parse pairs `NAME=FOLDER`."""
    found = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise ConfigError(f"--other is {pair!r}; expected NAME=FOLDER, such as before=runs/causal/world")
        found[name] = folder
    return found


def _report(out: Path, study: Study) -> str:
    """Return the table of the `longlive eval` report in the same folder, if there is one of this world."""
    from longlive_env.ablation import tables
    from longlive_env.cli.eval import HEADINGS

    file = out / "report.json"
    if not file.is_file():
        return ""
    report = json.loads(file.read_text(encoding="utf-8"))
    same = (
        report.get("files_digest") == study.files_digest and report.get("dtype", study.dtype) == study.dtype
    )
    return tables.eval_table(report["measures"], HEADINGS) if same else ""
