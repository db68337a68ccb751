//! One row a path, with a dot for each percentile, over milliseconds that grow by factors.

use super::svg::{Anchor, Svg, colour};

const LEFT: f64 = 190.0;
const WIDTH: f64 = 460.0;
const ROW: f64 = 26.0;
const TOP: f64 = 62.0;

/// A row: its name, and p50, p99 and p99.9 in milliseconds.
pub(super) type Row<'a> = (&'a str, [f64; 3]);

const NAMES: [&str; 3] = ["p50", "p99", "p99.9"];

pub(super) fn draw(title: &str, rows: &[Row<'_>]) -> String {
    let most = rows.iter().flat_map(|(_, values)| *values).fold(10.0, f64::max).log10();
    let x = |value: f64| LEFT + WIDTH * value.max(1.0).log10() / most;
    let bottom = rows.iter().fold(TOP, |y, _| y + ROW);
    let mut svg = Svg::new(LEFT + WIDTH + 30.0, bottom + 24.0, title);
    let mut legend = LEFT;
    for (index, name) in NAMES.into_iter().enumerate() {
        svg.circle(legend, 42.0, colour(index));
        svg.text(legend + 10.0, 46.0, Anchor::Start, name);
        legend += 70.0;
    }
    for milliseconds in [1.0, 10.0, 100.0, 1000.0, 10_000.0] {
        if f64::log10(milliseconds) <= most {
            svg.line((x(milliseconds), TOP), (x(milliseconds), bottom), "#dee2e6");
            svg.text(x(milliseconds), bottom + 16.0, Anchor::Middle, &format!("{milliseconds:.0} ms"));
        }
    }
    let mut y = TOP + ROW / 2.0;
    for (name, values) in rows {
        svg.text(LEFT - 12.0, y + 4.0, Anchor::End, name);
        svg.line((x(values[0]), y), (x(values[2]), y), "#868e96");
        for (index, value) in values.iter().enumerate() {
            svg.circle(x(*value), y, colour(index));
        }
        y += ROW;
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn ten_times_as_long_is_as_far_again() {
        let svg = draw("tail", &[("wocut", [1.0, 10.0, 100.0])]);
        for x in ["190.0", "420.0", "650.0"] {
            assert!(svg.contains(&format!("<circle cx=\"{x}\" cy=\"75.0\"")), "{x} in {svg}");
        }
    }
}
