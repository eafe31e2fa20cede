"""The page of an ablation: tables, charts and strips of frames, with text on how they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from longlive_env.ablation import chart, strips, tables
from longlive_env.ablation.study import Part, Result, Study
from longlive_env.ablation.variants import PROMPT_SWITCH, Variant
from longlive_env.engine.whole_files import write_whole
from longlive_env.errors import ConfigError
from longlive_env.evaluate import EvalConfig, Trial, trials
from longlive_env.intervals import Estimate, Share
from longlive_env.long_take import STATISTICS, LongTake
from longlive_env.provenance import hardware
from longlive_env.tiny.scene import ATTRIBUTES

TEMPLATE = Path(__file__).parent / "page.md"
BEGIN = "<!-- findings: written by hand, kept when this page is written again -->"
END = "<!-- end of findings -->"
SWITCH_TIMES = ("0.75 s before", "last before", "first after", "0.4 s", "0.75 s", "1.5 s", "2.25 s")
SWITCHES_SHOWN, FEWER_SHOWN = (0, 2, 4), (0, 4)  # rollouts that change subject, setting, action
TAKES_SHOWN = (0, 3)
FEW = 3  # number of variants up to which more examples fit into a picture


def write(docs: Path, study: Study, command: str, report: str = "") -> Path:
    """Write `world-quality.md` and its pictures.

    Args:
        docs: folder of the page; pictures go into its folder `images`.
        study: study with the measurements.
        command: command that writes the page.
        report: table of the world's `longlive eval` report.

    Returns:
        The page.
    """
    page = docs / "world-quality.md"
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    results = study.results()
    first = results[0]
    pictures = _Pictures(images, study, results)
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        findings=_findings(page),
        summary=tables.summary(results),
        report=f"{report}\n" if report else "Not measured for this world.\n",
        attributes=tables.attribute_table(first.long) if first.long else "Not measured yet.",
        switches=tables.switch_table(results),
        long=tables.long_table(results),
        changes=tables.change_table(results),
        switch_pictures=pictures.switches(),
        long_pictures=pictures.long_takes(),
        command=command,
        **_numbers(study),
    )
    write_whole(page, text)
    return page


def _findings(page: Path) -> str:
    """Return the text between the marks of the existing page, marks included.

    Raises:
        ConfigError: a mark is missing or misplaced, so that the text would be lost.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if not text:
        return f"{BEGIN}\n\n{END}"
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        raise ConfigError(
            f"{page}: its findings are written by hand, between {BEGIN!r} and {END!r}, and one of these is "
            "missing or misplaced; put it back, so that they are kept"
        )
    return text[begin : end + len(END)]


def origins(study: Study) -> dict[str, str]:
    """Return commits, dates and machines of the rows."""
    found = [one for job in study.jobs for one in job.measured.origins]
    return {
        "commits": _listed(_short(one["commit"]) for one in found),
        "dates": _listed(one["date"][:10] for one in found),
        "machines": _listed(_machine(one) for one in found),
    }


def _numbers(study: Study) -> dict[str, str]:
    config, block_s = study.config, study.block_seconds
    return {
        "world": config.world,
        "files_digest": study.files_digest,
        **origins(study),
        "dtype": study.dtype,
        "rollouts": f"Up to {config.eval.rollouts}",
        "long_takes": f"Up to {config.long_rollouts} rollouts of one prompt each, {config.seconds:g} seconds."
        if config.seconds
        else "None yet: `--seconds` asks for them.",
        "switch_s": f"{config.eval.switch * block_s:g}",
        "block_s": f"{block_s:g}",
        "steps": f"{study.steps}",
    }


def _machine(origin: dict[str, Any]) -> str:
    return f"{hardware(origin['machine'])}, torch {origin['torch']}"


def _short(commit: str | None) -> str:
    """Abbreviate a commit, noting that files may have differed from it."""
    if commit is None:
        return "unknown"
    return commit[:10] + (" with changes" if commit.endswith("-dirty") else "")


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(sorted(set(texts))) or "none yet"


class _Pictures:
    """Draws the pictures, and refers to them in Markdown."""

    def __init__(self, images: Path, study: Study, results: Sequence[Result]) -> None:
        self._images, self._study, self._results = images, study, results
        config = study.config.eval
        self._trials = list(trials(EvalConfig(strips.PICTURED, config.blocks, seed=config.seed)))

    def switches(self) -> str:
        """Draw strips across a prompt switch, one picture per group."""
        lines = []
        for group, variants in self._groups().items():
            shown = SWITCHES_SHOWN if len(variants) <= FEW else FEWER_SHOWN
            examples = self._examples("switch", variants, shown, lambda one: " -> ".join(one.prompts))
            alt = f"{group}: frames around a prompt switch"
            lines += self._save(examples, SWITCH_TIMES, f"switch-{group}", alt)
        return "\n".join(lines)

    def long_takes(self) -> str:
        """Draw charts and strips of long takes, one of each per group."""
        lines = []
        for group, variants in self._groups().items():
            results = [one for one in self._results if one.variant in variants and one.long]
            if group == PROMPT_SWITCH or not results:  # without a switch, its variants do not differ
                continue
            name = f"world-quality-long-{group}.png"
            picture = chart.draw(_panels(results), "seconds")
            picture.quantize(128).save(self._images / name, optimize=True)
            lines += [f"![{group}: long takes over time](images/{name})", ""]
            times = [f"{at * self._study.config.seconds:.0f} s" for at in strips.LONG_MOMENTS]
            examples = self._examples("long", variants, TAKES_SHOWN, lambda one: one.prompts[0])
            lines += self._save(examples, times, f"frames-{group}", f"{group}: frames of long takes")
        return "\n".join(lines)

    def _groups(self) -> dict[str, list[Variant]]:
        found: dict[str, list[Variant]] = {}
        for one in self._results:
            found.setdefault(one.variant.group, []).append(one.variant)
        return found

    def _examples(
        self,
        part: Part,
        variants: Sequence[Variant],
        rollouts: Sequence[int],
        title: Callable[[Trial], str],
    ) -> list[strips.Example]:
        """Return the same rollouts of every measured variant."""
        known = [one.variant for one in self._results if (one.switch if part == "switch" else one.long)]
        return [
            strips.Example(
                title(self._trials[number]),
                [
                    (variant.name, self._study.picture(part, variant, number))
                    for variant in variants
                    if variant in known
                ],
            )
            for number in rollouts
        ]

    def _save(
        self, examples: Sequence[strips.Example], columns: Sequence[str], name: str, alt: str
    ) -> list[str]:
        """Draw strips; if some frames are missing, an existing picture is kept."""
        path = self._images / f"world-quality-{name.replace(' ', '-')}.jpg"
        drawn = [(label, file.is_file()) for one in examples for label, file in one.strips]
        if all(there for _, there in drawn) or not path.is_file():
            picture = strips.draw(examples, columns)
            if picture is None or len({label for label, there in drawn if there}) < 2:
                return []  # a single one shows nothing
            strips.save_small(picture, path)
        return [f"![{alt}](images/{path.name})", ""]


def _panels(results: Sequence[Result]) -> list[chart.Panel]:
    """Return panels of adherence to all attributes and to each, and of the look, over time."""

    def lines(value: Callable[..., Share | Estimate], *of: str) -> list[chart.Line]:
        return [_line(one.variant.name, one.long, value, *of) for one in results if one.long]

    panels = [chart.Panel("all attributes, mean", lines(LongTake.adherence), (0.0, 1.0))]
    for name in ATTRIBUTES:
        panels.append(chart.Panel(name, lines(LongTake.share, name), (0.0, 1.0)))
    for i, name in enumerate(STATISTICS):
        found = lines(LongTake.statistic, name)
        first = results[0].long
        assert first is not None
        ends = [first.middles_s[0], first.middles_s[-1]]
        rendered = [float(value) for value in first.rendered[:, :, i].mean(axis=0)]
        found.append(chart.Line("rendered scenes", ends, rendered, [], [], dashed=True))
        panels.append(chart.Panel("gradient energy" if name == "gradient" else name, found))
    return panels


def _line(label: str, long: LongTake, value: Callable[..., Share | Estimate], *of: str) -> chart.Line:
    """Return the line of `value(long, *of, window)` over the windows."""
    points = [value(long, *of, window) for window in range(long.shown.shape[1])]
    y = [point.share if isinstance(point, Share) else point.value for point in points]
    ends = [point.interval for point in points if point.interval is not None]
    low, high = zip(*ends, strict=True) if len(ends) == len(points) else ((), ())
    return chart.Line(label, long.middles_s, y, list(low), list(high))
