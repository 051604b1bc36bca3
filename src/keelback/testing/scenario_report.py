"""What came of a scenario, for people: lines of text, charts as SVG, and a page of HTML with all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from keelback.testing.scenario import Scenario
from keelback.testing.scenario_run import PHASES, Outcome

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 220, 56, 28
_COLORS = ("#2f7d4f", "#d08b1d", "#7a8aa0", "#b3372e")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:780px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}
svg text{font:12px system-ui,sans-serif;fill:#444}h2{margin-top:2em}"""


def text(outcome: Outcome) -> Iterator[str]:
    """The figures in a few lines."""
    last = outcome.samples[-1]
    most = max(outcome.samples, key=lambda sample: sample.pods.get("Pending", 0))
    left = ", ".join(f"{last.pods[phase]} {phase}" for phase in PHASES if last.pods.get(phase))
    yield f"Pods at the end:  {left or 'none'}"
    yield f"Most pending:     {most.pods.get('Pending', 0)} after {clock(most.seconds)}"
    cpu = max(one.cpu_share for one in outcome.samples)
    yield f"CPU asked for:    {_percent(cpu)} of what ready nodes offer, at most"
    yield f"Memory asked for: {_percent(max(one.memory_share for one in outcome.samples))} at most"
    yield f"To be scheduled:  {_quantiles(outcome.scheduling_seconds)}"
    yield f"To be ready:      {_quantiles(outcome.ready_seconds)}"
    for reason, number in outcome.refusals.most_common(3):
        yield f"Seen {number} times: {reason}"


def charts(outcome: Outcome) -> dict[str, str]:
    """The charts by name, each a whole SVG document."""
    times = [sample.seconds for sample in outcome.samples]
    pods = {phase: [float(sample.pods.get(phase, 0)) for sample in outcome.samples] for phase in PHASES}
    shares = {
        "CPU": [sample.cpu_share * 100 for sample in outcome.samples],
        "memory": [sample.memory_share * 100 for sample in outcome.samples],
    }
    waits = sorted(outcome.scheduling_seconds)
    parts = [100.0 * number / max(1, len(waits) - 1) for number in range(len(waits))]
    return {
        "pods": _chart("Pods by phase", times, {name: line for name, line in pods.items() if any(line)}),
        "utilisation": _chart("Requests in percent of what ready nodes offer", times, shares),
        "nodes": _chart("Ready nodes", times, {"ready": [float(one.ready_nodes) for one in outcome.samples]}),
        "latency": _chart("Seconds until scheduled, by share of pods (percent)", parts, {"wait": waits}, is_time=False),
    }


def page(title: str, scenario: Scenario, outcome: Outcome) -> str:
    """The whole report as one file of HTML."""
    done = "".join(f"<tr><td>{clock(at)}<td>{escape(what)}" for at, what in outcome.told)
    figures = "<br>".join(escape(line) for line in text(outcome))
    drawn = "".join(f"<h2>{name.capitalize()}</h2>{svg}" for name, svg in charts(outcome).items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{len(scenario.nodes)} nodes, {clock(scenario.duration)} of simulated time, "
        f"seed {scenario.seed}.</p><p>{figures}</p>{drawn}<h2>What happened</h2><table>{done}</table></html>\n"
    )


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _chart(title: str, across: Sequence[float], lines: Mapping[str, Sequence[float]], *, is_time: bool = True) -> str:
    top = _rounded_up(max((value for line in lines.values() for value in line), default=0.0))
    end = across[-1] if across and across[-1] else 1.0
    wide, high = _WIDTH - _LEFT - 16, _HEIGHT - _BOTTOM - 24

    def x(value: float) -> float:
        return _LEFT + wide * value / end

    def y(value: float) -> float:
        return 24 + high * (1 - value / top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f'<text x="{_LEFT}" y="14">{escape(title)}</text>'
    ]
    for number in range(5):
        value = top * number / 4
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 16}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e3e3e3"/>'
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
        at = end * number / 4
        label = clock(at) if is_time else f"{at:g}"
        parts.append(f'<text x="{x(at):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{label}</text>')
    for number, (name, line) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(across, line, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{_WIDTH - 110}" y="{38 + 15 * number}" style="fill:{color}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _rounded_up(value: float) -> float:
    """The next number whose quarters read well."""
    if value <= 0:
        return 4.0
    size = 10.0 ** (len(str(int(value))) - 1)
    return next(size * step for step in (1, 2, 4, 6, 8, 10, 12) if size * step >= value)


def _quantiles(values: Sequence[float]) -> str:
    if not values:
        return "no pod was"
    ordered = sorted(values)
    middle, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"median {middle:g} s, p99 {late:g} s, longest {ordered[-1]:g} s ({len(ordered)} pods)"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"
