//! The page of one command.

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;

/// The page of a command that is built; `more` is roff for its end.
pub(super) fn page(command: &Command, more: &str) -> anyhow::Result<String> {
    let man = Man::new(command.clone()).manual("wocut");
    let mut text = Vec::new();
    let mut render = || {
        man.render_title(&mut text)?;
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut text)?;
        }
        man.render_options_section(&mut text)
    };
    render().context("write a page")?;
    let end = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).into_owned() + &examples(&end) + more)
}

/// What stands at the end of `--help`, which has a line `Examples:` first and then a command a line.
fn examples(help: &str) -> String {
    let mut text = String::from(".SH EXAMPLES\n.nf\n");
    for line in help.lines().skip(1) {
        text.extend([&literal(line.trim_start()), "\n"]);
    }
    text + ".fi\n"
}

/// A line that means itself: no request, no ligature, and dashes that can be pasted.
fn literal(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn line_of_an_example_means_itself() {
        assert_eq!(literal("wocut drain web --wait 30s"), "wocut drain web \\-\\-wait 30s");
        assert_eq!(literal(".a\\b"), "\\&.a\\eb");
    }
}
