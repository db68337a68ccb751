//! The words of the command line: its page, which is committed, and its examples.

use std::{env, fmt::Write as _, fs, path::Path};

use clap::{Command, CommandFactory as _, Parser as _};
use insta::assert_snapshot;

use crate::cli::Cli;

const HEAD: &str = "\
# Commands

What `--help` prints, command by command. `wocut man --out DIR` writes the same as manual pages, `wocut completions SHELL`
what a shell needs to complete it. The options of every command stand here once, under `wocut`.

<!-- `WOCUT_UPDATE=1 cargo test -p wocut committed_page` writes this anew -->
";

fn commands() -> Command {
    let mut root = Cli::command().disable_help_subcommand(true).disable_version_flag(true);
    root.build();
    root
}

/// Those that a user is shown.
fn below(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

/// The page: each command's help, without what is the same for all.
fn page() -> String {
    let root = commands();
    let mut page = HEAD.to_owned();
    let mut add = |name: &str, mut command: Command| {
        let help = command.render_long_help().to_string();
        // Where a value has a paragraph of its own, clap leaves blanks on the empty line before.
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n")).unwrap();
    };
    add("wocut", root.clone());
    for command in below(&root).flat_map(|command| [command].into_iter().chain(below(command))) {
        let short = command.clone().disable_help_flag(true);
        let short = short.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
        add(command.get_bin_name().unwrap_or_default(), short);
    }
    page
}

#[test]
fn committed_page_is_of_these_commands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let now = page();
    if env::var_os("WOCUT_UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/cli.md is not of these commands: `WOCUT_UPDATE=1 cargo test -p wocut committed_page` writes it anew"
    );
}

#[test]
fn every_command_has_examples_that_it_takes() {
    let root = commands();
    let shown = below(&root).flat_map(|command| [command].into_iter().chain(below(command)));
    for command in [&root].into_iter().chain(shown) {
        let name = command.get_name();
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let mut lines = help.lines();
        assert_eq!(lines.next(), Some("Examples:"), "{name}");
        let of_wocut = lines.flat_map(|line| line.split(['|', '>', '&'])).map(str::trim);
        let mut taken = 0;
        for line in of_wocut.filter(|line| line.starts_with("wocut ")) {
            let read = Cli::try_parse_from(line.split_whitespace());
            assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
            taken += 1;
        }
        assert!(taken > 0, "{name} has no example");
    }
}

#[test]
fn short_help_fits_one_screen() {
    let help = Cli::command().render_help().to_string();
    assert!(help.lines().count() <= 48, "{help}");
}

#[test]
fn word_that_is_not_known_is_told_with_the_one_that_was_meant() {
    let told = |line: &str| {
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    assert_snapshot!(told("wocut statsu"), @r"
    error: unrecognized subcommand 'statsu'

      tip: some similar subcommands exist: 'status', 'stats'

    Usage: wocut [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(told("wocut drain web 8001 --wiat 3s"), @r"
    error: unexpected argument '--wiat' found

      tip: a similar argument exists: '--wait'

    Usage: wocut drain --wait <DURATION> <NAME> <INSTANCE>

    For more information, try '--help'.
    ");
    assert_snapshot!(told("wocut attach web 80/tcp to 8001 --policy rondom"), @r"
    error: invalid value 'rondom' for '--policy <POLICY>': `rondom` is not a policy: it is one of `random` `round-robin` `least-conn` `least-backlog` `sticky`

    For more information, try '--help'.
    ");
}
