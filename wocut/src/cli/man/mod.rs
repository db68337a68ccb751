//! `wocut man`: a page a command in section 1, from its `--help`; `wocut.toml(5)` and `wocut(8)`, which are written by
//! hand beside this file.

mod page;

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _};

use self::page::page;
use super::{Cli, Context};

/// Print the manual page, or write all of them
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  wocut man | man -l -\n  wocut man --out /usr/local/share/man")]
pub(super) struct Man {
    /// Write every page below this directory: `man1/wocut.1` and so on
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let pages = pages()?;
        let Some(out) = self.out else {
            return context.printer.text(&pages[0].1);
        };
        for (name, text) in &pages {
            let section = name.rsplit('.').next().unwrap_or_default();
            let folder = out.join(format!("man{section}"));
            fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        context.printer.said(&format!("wrote {} pages to {}", pages.len(), out.display()))
    }
}

/// File name and text of each page, `wocut.1` first.
fn pages() -> anyhow::Result<Vec<(String, String)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let more = include_str!("wocut.1");
    let mut pages = vec![("wocut.1".into(), page(&root, more)?)];
    for command in visible(&root) {
        let name = format!("wocut-{}", command.get_name());
        pages.push((format!("{name}.1"), page(command, ".SH SEE ALSO\n.BR wocut (1)\n")?));
        for below in visible(command) {
            let see = format!(".SH SEE ALSO\n.BR {name} (1)\n");
            pages.push((format!("{name}-{}.1", below.get_name()), page(below, &see)?));
        }
    }
    pages.push(("wocut.toml.5".into(), include_str!("wocut.toml.5").into()));
    pages.push(("wocut.8".into(), include_str!("wocut.8").into()));
    Ok(pages)
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;
    use insta::assert_snapshot;
    use wocut_common::maps;

    use super::pages;
    use crate::{
        api::SOCKET,
        cli::{Cli, serve::CONFIG},
        config::keys,
        engine::{ebpf::Ebpf, iptables::is_own},
        host::Host,
        sys::capabilities::DAEMON,
    };

    #[test]
    fn there_is_a_page_for_each_command_the_files_and_the_operation() {
        let names: Vec<String> = pages().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_snapshot!(names.join("\n"), @r"
        wocut.1
        wocut-attach.1
        wocut-detach.1
        wocut-add.1
        wocut-remove.1
        wocut-weight.1
        wocut-drain.1
        wocut-ready.1
        wocut-maint.1
        wocut-list.1
        wocut-status.1
        wocut-stats.1
        wocut-top.1
        wocut-explain.1
        wocut-trace.1
        wocut-doctor.1
        wocut-bugreport.1
        wocut-upgrade.1
        wocut-check.1
        wocut-apply.1
        wocut-export.1
        wocut-serve.1
        wocut-run.1
        wocut-cluster.1
        wocut-cluster-reload.1
        wocut-cluster-status.1
        wocut-cluster-scale.1
        wocut-cluster-stop.1
        wocut-completions.1
        wocut-man.1
        wocut.toml.5
        wocut.8
        ");
    }

    #[test]
    fn page_has_its_name_its_options_and_its_examples() {
        let pages = pages().unwrap();
        let (_, drain) = pages.iter().find(|(name, _)| name == "wocut-drain.1").unwrap();
        let sections: Vec<&str> = drain.lines().filter(|line| line.starts_with(".SH")).collect();
        assert_snapshot!(sections.join("\n"), @r#"
        .SH NAME
        .SH SYNOPSIS
        .SH DESCRIPTION
        .SH OPTIONS
        .SH "OPTIONS OF EVERY COMMAND"
        .SH EXAMPLES
        .SH SEE ALSO
        "#);
        let at = drain.find(".SH EXAMPLES").unwrap();
        assert_snapshot!(drain[at..], @r"
        .SH EXAMPLES
        .nf
        wocut drain web 8001
        wocut drain web 8001 \-\-wait 30s \-\-kill && systemctl restart web@8001
        .fi
        .SH SEE ALSO
        .BR wocut (1)
        ");
    }

    /// A key that comes to the files comes to the page.
    #[test]
    fn page_of_the_files_has_every_key() {
        let page = include_str!("wocut.toml.5");
        let described = |key: &str| page.lines().any(|line| line == format!(".B {key}"));
        let missing: Vec<&str> = keys().filter(|key| !described(key)).collect();
        assert!(missing.is_empty(), "wocut/src/cli/man/wocut.toml.5 lacks {missing:?}");
    }

    /// Commands, files and capabilities, and where it has people look with the system's tools.
    #[test]
    fn page_of_the_operation_names_what_there_is() {
        let page = include_str!("wocut.8").replace("\\-", "-");
        let bold = |line: &str| {
            let quoted = || Some(line.strip_prefix(".BR \"")?.split_once('"')?.0.to_owned());
            line.strip_prefix(".B ").map(ToOwned::to_owned).or_else(quoted)
        };
        let bold: Vec<String> = page.lines().filter_map(bold).collect();
        let starting = |start: &str| bold.iter().filter(|words| words.starts_with(start)).collect::<Vec<_>>();

        let commands = starting("wocut ");
        assert!(commands.len() > 5, "{commands:?}");
        for command in commands {
            let line = command.replace("NAME", "web").replace("ADDR:PORT", "192.0.2.7:40000");
            let read = Cli::try_parse_from(line.split_whitespace());
            assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
        }
        let capabilities: Vec<&str> =
            DAEMON.iter().map(|(name, ..)| *name).chain(["CAP_SYS_ADMIN"]).collect();
        assert_eq!(starting("CAP_"), capabilities);

        let host = Host::enter(None).unwrap();
        let netns = host.netns().inode.to_string();
        let general = |path: &Path| path.display().to_string().replace(&netns, "NETNS");
        let (state, ebpf) = (general(&host.state_path()), Ebpf::new(host.netns()));
        let pins = general(ebpf.pins()) + "/";
        let files: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".I ")).collect();
        assert_eq!(files, [state.as_str(), SOCKET, &pins, CONFIG]);
        assert_eq!(starting("bpftool "), [&format!("bpftool map dump pinned {pins}{}", maps::INSTANCES)]);
        let chains = starting("iptables ");
        assert!(chains.iter().all(|line| is_own(line.rsplit(' ').next().unwrap())), "{chains:?}");
    }

    #[test]
    fn every_page_begins_with_its_title_and_refers_to_pages_that_there_are() {
        let pages = pages().unwrap();
        for (name, text) in &pages {
            let (title, section) = name.rsplit_once('.').unwrap();
            let head = text.lines().find(|line| line.starts_with(".TH")).unwrap();
            assert!(head.starts_with(&format!(".TH {title} {section}")), "{name}: {head}");
            let plain = text.replace("\\-", "-").replace("\\fR", "").replace(" (", "(");
            let words = plain.split(|c: char| c.is_whitespace() || c == ',');
            let referred = words.filter_map(|word| word.strip_suffix(')')?.rsplit_once('('));
            for (page, section) in referred.filter(|(page, _)| page.starts_with("wocut")) {
                let page = format!("{page}.{section}");
                assert!(pages.iter().any(|(name, _)| *name == page), "{name} refers to {page}");
            }
        }
    }
}
