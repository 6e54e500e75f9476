"""Bar charts as SVG, in the colours of the page that shows them."""

import pathlib
from xml.sax.saxutils import escape

BAR, GAP, LABELS, PANEL, VALUE = 16, 12, 350, 250, 60
"""Height of a bar, space between groups, and widths of labels, of the longest bar and of the number behind it."""

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; }
.ours { fill: #1f77b4; }
.other { fill: #b0b7bf; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .other { fill: #6e7681; } }
"""


def write(path: pathlib.Path, titles: list[str], groups: list[tuple[str, list[tuple[str, list[float]]]]]) -> None:
    """Writes a chart: a panel for each title, and in it for each group its name and a bar for each of its sides.

    A side has a name and a number for each panel. The longest bar of a panel fills it; sides called candle4j are coloured.
    """
    most = [max(numbers[panel] for _, sides in groups for _, numbers in sides) for panel in range(len(titles))]
    width = LABELS + len(titles) * (PANEL + VALUE)
    parts, y = [], BAR
    for panel, title in enumerate(titles):
        parts.append(f'<text class="title" x="{LABELS + panel * (PANEL + VALUE)}" y="{y}">{escape(title)}</text>')
    y += GAP
    for group, sides in groups:
        for index, (name, numbers) in enumerate(sides):
            if index == 0:
                parts.append(f'<text class="title" x="0" y="{y + BAR - 4}">{escape(group)}</text>')
            parts.append(f'<text x="{LABELS - 8}" y="{y + BAR - 4}" text-anchor="end">{escape(name)}</text>')
            kind = "ours" if name.startswith("candle4j") else "other"
            for panel, number in enumerate(numbers):
                x, length = LABELS + panel * (PANEL + VALUE), PANEL * number / most[panel]
                parts.append(f'<rect class="{kind}" x="{x}" y="{y + 1}" width="{length:.1f}" height="{BAR - 2}"/>')
                parts.append(f'<text x="{x + length + 5:.1f}" y="{y + BAR - 4}">{number:.0f}</text>')
            y += BAR
        y += GAP
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}">', f"<style>{STYLE}</style>", *parts, "</svg>"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
