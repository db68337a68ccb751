//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

/// Figures as text.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Figures that only grow, each with its labels.
    pub(super) fn counter<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, impl AsRef<str>); N], u64)>,
    ) {
        self.family(name, "counter", help, samples);
    }

    /// Figures that go up and down, each with its labels.
    pub(super) fn gauge<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, impl AsRef<str>); N], f64)>,
    ) {
        self.family(name, "gauge", help, samples);
    }

    /// All of it.
    pub(super) fn text(self) -> String {
        self.0
    }

    fn family<const N: usize>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, impl AsRef<str>); N], impl Display)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Nothing fails that is written to a text.
        let _written = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels =
                labels.each_ref().map(|(key, value)| format!("{key}=\"{}\"", escaped(value.as_ref())));
            let _written = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn family_without_figures_is_not_there() {
        let mut page = Page::default();
        page.counter::<1>("a_total", "A.", [] as [([(&str, &str); 1], u64); 0]);
        page.gauge("b", "B.", [([("c", "x\"\\\ny")], 0.25), ([("c", "z")], 1.0)]);
        assert_eq!(page.text(), "# HELP b B.\n# TYPE b gauge\nb{c=\"x\\\"\\\\\\ny\"} 0.25\nb{c=\"z\"} 1\n");
    }
}
