//! One bar a path: the median, with a line from the smallest to the largest round.

use super::svg::{Anchor, Svg, colour};
use crate::bench::figures::Spread;

const LEFT: f64 = 190.0;
const WIDTH: f64 = 460.0;
const ROW: f64 = 24.0;
const TOP: f64 = 40.0;

/// A row: its name, and its value as a part of the whole.
pub(super) type Row<'a> = (&'a str, Spread);

/// Draws rows as parts of direct.
pub(super) fn draw(title: &str, rows: &[Row<'_>]) -> String {
    let full = rows.iter().map(|(_, spread)| spread.max).fold(1.0, f64::max).min(1.3);
    let x = |value: f64| LEFT + WIDTH * (value / full).min(1.0);
    let bottom = rows.iter().fold(TOP, |y, _| y + ROW);
    let mut svg = Svg::new(LEFT + WIDTH + 70.0, bottom + 24.0, title);
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        svg.line((x(part), TOP), (x(part), bottom), "#dee2e6");
        svg.text(x(part), bottom + 16.0, Anchor::Middle, &format!("{:.0} %", part * 100.0));
    }
    let mut y = TOP;
    for (name, spread) in rows {
        let fill = colour(usize::from(!name.starts_with("wocut")) * 8);
        svg.text(LEFT - 8.0, y + 16.0, Anchor::End, name);
        svg.rect(LEFT, y + 4.0, x(spread.median) - LEFT, ROW - 8.0, fill);
        svg.line((x(spread.min), y + ROW / 2.0), (x(spread.max), y + ROW / 2.0), "#212529");
        svg.text(LEFT + WIDTH + 8.0, y + 16.0, Anchor::Start, &format!("{:.1} %", spread.median * 100.0));
        y += ROW;
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::bench::figures::Spread;

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        let spread = |median| Spread { median, min: median, max: median };
        let svg = draw("connect", &[("direct", spread(1.0)), ("wocut", spread(0.5))]);
        assert!(svg.contains("width=\"460.0\"") && svg.contains("width=\"230.0\""), "{svg}");
        assert!(svg.contains(">50.0 %<"), "{svg}");
    }
}
