//! One line a path, over a number that grows by factors.

use super::svg::{Anchor, Svg, colour};

const LEFT: f64 = 60.0;
const WIDTH: f64 = 440.0;
const TOP: f64 = 40.0;
const HEIGHT: f64 = 260.0;

/// A line: its name, and points of number and part.
pub(super) type Line<'a> = (&'a str, Vec<(u64, f64)>);

/// Draws lines as parts of direct.
pub(super) fn draw(title: &str, axis: &str, lines: &[Line<'_>]) -> String {
    let mut numbers: Vec<u64> = lines.iter().flat_map(|(_, points)| points).map(|&(at, _)| at).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let most = numbers.last().copied().map_or(1.0, scale).max(1.0);
    let x = |at: u64| LEFT + WIDTH * scale(at) / most;
    let highest =
        lines.iter().flat_map(|(_, points)| points).map(|&(_, part)| part).fold(1.0, f64::max).min(1.3);
    let y = |part: f64| TOP + HEIGHT * (1.0 - part.min(highest) / highest);
    let mut svg = Svg::new(LEFT + WIDTH + 190.0, TOP + HEIGHT + 46.0, title);
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        svg.line((LEFT, y(part)), (LEFT + WIDTH, y(part)), "#dee2e6");
        svg.text(LEFT - 8.0, y(part) + 4.0, Anchor::End, &format!("{:.0} %", part * 100.0));
    }
    for &at in &numbers {
        svg.text(x(at), TOP + HEIGHT + 18.0, Anchor::Middle, &at.to_string());
    }
    svg.text(LEFT + WIDTH / 2.0, TOP + HEIGHT + 38.0, Anchor::Middle, axis);
    let mut legend = TOP + 8.0;
    for (index, (name, points)) in lines.iter().enumerate() {
        let points: Vec<(f64, f64)> = points.iter().map(|&(at, part)| (x(at), y(part))).collect();
        svg.polyline(&points, colour(index));
        for (x, y) in points {
            svg.circle(x, y, colour(index));
        }
        svg.circle(LEFT + WIDTH + 20.0, legend - 4.0, colour(index));
        svg.text(LEFT + WIDTH + 32.0, legend, Anchor::Start, name);
        legend += 20.0;
    }
    svg.finish()
}

/// Each doubling is as far as the one before.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn scale(at: u64) -> f64 {
    (at.max(1) as f64).log2()
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn doublings_are_evenly_apart() {
        let svg = draw("instances", "instances", &[("direct", vec![(1, 1.0), (4, 1.0), (16, 0.5)])]);
        assert!(svg.contains("points=\"60.0,40.0 280.0,40.0 500.0,170.0\""), "{svg}");
    }
}
