"""Run the notebook and store what its cells print and show: `python docs/make_notebook.py`.

Needs `pip install nbclient ipykernel`. A picture is stored once, as JPEG, so that the notebook stays small.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


def main() -> None:
    """Run every cell in a fresh kernel and write the notebook."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK)
    args = parser.parse_args()
    notebook = nbformat.read(args.notebook, as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": args.notebook.parent}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the time of day
        for output in cell.get("outputs", ()):
            if "image/jpeg" in output.get("data", {}):
                output.data.pop("image/png", None)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, args.notebook)
    print(f"wrote {args.notebook} ({args.notebook.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
