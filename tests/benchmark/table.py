"""The table that a run prints, in Markdown, a row as soon as it is measured."""

ENDS = ("ours", "the other's", "wall clock (quartiles)", "processor", "promised")


def head():
    """The table's first lines."""
    _line("", *ENDS)
    print("|---" * (len(ENDS) + 1) + "|")


def row(what, comparison, promised, *, unit="µs"):
    """A comparison: each side's median, and the median of the pairs' ratios."""
    scale = {"µs": 1e6, "ms": 1e3}[unit]
    sides = [f"{comparison.median(side).wall * scale:,.0f} {unit}" for side in (0, 1)]
    low, middle, high = comparison.ratios(0)
    _line(
        *(what, *sides, f"{middle:.2f} ({low:.2f}-{high:.2f})"),
        *(f"{comparison.ratios(1)[1]:.2f}", promised),
    )


def count(what, ours, theirs, promised):
    """Something counted and not timed."""
    _line(what, ours, theirs, "", "", promised)


def _line(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
