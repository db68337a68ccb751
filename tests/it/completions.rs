//! What the shells make of a word that is begun, on a terminal.

use std::fs;

use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::tool;
use wocut_tests::screen::Screen;
use wocut_tests::tool::run;
use wocut_tests::wocut;

/// What is typed before Tab, and what stands there then.
const BEGUN: [(&str, &str); 3] = [
    ("wocut dr", "wocut drain"),
    ("wocut drain --wa", "wocut drain --wait"),
    ("wocut serve --log-format j", "wocut serve --log-format json"),
];

/// Starts the shell with nothing of its user's, and has it read what completes by a line of its own.
#[track_caller]
fn completes(shell: &str, start: &str, read: &str) {
    let folder = tempfile::tempdir().must("make a folder for a shell");
    let script = run(wocut::command(None, None, &[]).args(["completions", shell]));
    fs::write(folder.path().join("_wocut"), script).must("write what completes");
    let at = |line: &str| line.replace("DIR", &folder.path().display().to_string());
    let screen = Screen::of(&at(start));
    screen.press(&[&at(read), "Enter"]);
    screen.shows_line("done");
    for (begun, whole) in BEGUN {
        screen.press(&["C-u", begun, "Tab"]);
        screen.shows(whole, |lines| {
            let typed = lines.iter().rfind(|line| !line.is_empty())?.strip_prefix("> ")?;
            (typed == whole || typed.strip_suffix('=') == Some(whole)).then_some(())
        });
    }
}

#[test]
fn bash_completes() {
    need!(tool("tmux"));
    completes("bash", "env PS1='> ' bash --norc --noprofile -i", ". DIR/_wocut; echo done");
}

#[test]
fn zsh_completes() {
    need!(tool("tmux"));
    need!(tool("zsh"));
    let read = "fpath=(DIR $fpath); autoload -U compinit; compinit -D -u; echo done";
    completes("zsh", "env PS1='> ' zsh -f -i", read);
}

#[test]
fn fish_completes() {
    need!(tool("tmux"));
    need!(tool("fish"));
    let start = "env HOME=DIR fish --no-config -i --init-command 'function fish_prompt; echo -n \"> \"; end'";
    completes("fish", start, "source DIR/_wocut; echo done");
}
