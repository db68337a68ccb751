//! `wocut completions SHELL`

use clap::{Args, CommandFactory as _, ValueEnum};

use super::{Cli, Context};

/// Print what a shell needs to complete the words of wocut
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  wocut completions bash > /usr/share/bash-completion/completions/wocut
  wocut completions zsh > /usr/share/zsh/vendor-completions/_wocut
  wocut completions fish > /usr/share/fish/vendor_completions.d/wocut.fish")]
pub(super) struct Completions {
    /// Who is to complete
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        context.printer.text(&self.shell.script())
    }
}

impl Shell {
    fn script(self) -> String {
        let shell = match self {
            Self::Bash => clap_complete::Shell::Bash,
            Self::Zsh => clap_complete::Shell::Zsh,
            Self::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "wocut", &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, ValueEnum as _};
    use insta::assert_snapshot;

    use super::Shell;
    use crate::cli::Cli;

    #[test]
    fn script_of_each_shell_knows_every_command() {
        for shell in Shell::value_variants() {
            let script = shell.script();
            for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
                assert!(script.contains(command.get_name()), "{shell:?} lacks {}", command.get_name());
            }
        }
    }

    #[test]
    fn script_begins_as_its_shell_wants() {
        let head = |shell: Shell| shell.script().lines().take(3).collect::<Vec<_>>().join("\n");
        assert_snapshot!(head(Shell::Bash), @r"
        _wocut() {
            local i cur prev opts cmd
            COMPREPLY=()
        ");
        assert_snapshot!(head(Shell::Zsh), @r"
        #compdef wocut

        autoload -U is-at-least
        ");
        assert_snapshot!(head(Shell::Fish), @r"
        # Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
        function __fish_wocut_global_optspecs
            string join \n j/json engine= netns= q/quiet v/verbose color= h/help V/version
        ");
    }
}
