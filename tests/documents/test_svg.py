"""Pictures without a library: well-formed, to scale, and the same every time."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from mlx_preflight.documents import svg

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_to_scale_and_carry_their_values() -> None:
    """Half the value is half the bar, and a name cannot break the markup."""
    text = svg.bars("Memory", "days", {"a <b> & c": 50.0, "d": 100.0})
    root = ET.fromstring(text)
    bars = [float(item.attrib["width"]) for item in root.iter(f"{SVG}rect")][1:]
    assert bars[0] * 2 == bars[1]
    words = [item.text for item in root.iter(f"{SVG}text")]
    assert words == ["Memory", "a <b> & c", "50 days", "d", "100 days"]
    assert text == svg.bars("Memory", "days", {"a <b> & c": 50.0, "d": 100.0})


def test_lines_have_a_point_for_every_value_within_the_picture() -> None:
    """Curves of different length share one scale."""
    root = ET.fromstring(svg.lines("Loss", "step", "nats", {"a": [4.0, 2.0, 1.0], "b": [3.0, 0.5]}))
    lines = [item.attrib["points"].split() for item in root.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [3, 2]
    ys = [[float(point.split(",")[1]) for point in line] for line in lines]
    assert ys[0] == sorted(ys[0])
    assert min(min(line) for line in ys) == svg.TOP
    assert max(max(line) for line in ys) <= svg.HEIGHT - svg.BOTTOM
    words = [item.text for item in root.iter(f"{SVG}text")]
    assert words[:5] == ["Loss", "step", "nats", "1", "3"]
