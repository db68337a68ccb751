//! What a page of the documentation says is to be done, in order.

use std::path::PathBuf;

/// One file of the documentation.
#[derive(Debug, Default)]
pub struct Page {
    /// What is done, with the line that says so.
    pub steps: Vec<(usize, Step)>,
    /// Programs that have to be there.
    pub needs: Vec<String>,
    /// What makes no sense in it.
    pub faults: Vec<String>,
}

/// One thing to do.
#[derive(Debug, Eq, PartialEq)]
pub enum Step {
    /// A file is written.
    File(PathBuf, String),
    /// A file of configuration is checked.
    Check(String),
    /// A command is typed.
    Command(Command),
    /// Servers that answer with their ports are started.
    Servers(Vec<u16>),
    /// What a reader has already is made, by a command of root's.
    Given(String),
    /// A command of root's is tried until it succeeds.
    Until(String),
    /// Clients begin to do this over and over.
    Load(String),
    /// Clients end, and have not failed.
    NoLoss,
}

/// A command, and what is printed below it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Command {
    /// Who types it.
    pub who: Who,
    /// What is typed.
    pub text: String,
    /// What it prints.
    pub output: Vec<String>,
    /// When it ends.
    pub ends: Ends,
    /// Whether numbers may be others than those that are printed.
    pub numbers_vary: bool,
}

/// Who types a command, and where.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Who {
    /// Root, on the host.
    #[default]
    Root,
    /// Somebody else, on the host.
    Alice,
    /// Root, on another host.
    Client,
}

/// When a command ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ends {
    /// By itself.
    #[default]
    ByItself,
    /// When Ctrl-C is pressed.
    Interrupted,
    /// With the page.
    WithThePage,
}

/// What a comment before a block says of it.
#[derive(Debug, Default)]
struct Marks {
    file: Option<PathBuf>,
    not_run: bool,
    numbers_vary: bool,
    stays: bool,
}

const PROMPTS: [(&str, Who); 3] = [("# ", Who::Root), ("$ ", Who::Alice), ("client$ ", Who::Client)];

impl Page {
    /// Reads a file.
    pub fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut marks = Marks::default();
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            let (indent, line) = line.split_at(line.len() - line.trim_start().len());
            if let Some(kind) = line.strip_prefix("```") {
                let within = lines.by_ref().map(|(line, _)| line.strip_prefix(indent).unwrap_or(line));
                let body: Vec<&str> = within.take_while(|line| !line.starts_with("```")).collect();
                page.block(number, kind, &body, std::mem::take(&mut marks), text);
            } else if let Some(comment) = comment(line) {
                page.comment(number, comment, &mut marks);
            } else if !line.trim().is_empty() && !marks.is_empty() {
                page.fault(number, "the comment before this is of a block, and there is none");
                marks = Marks::default();
            }
        }
        page
    }

    fn fault(&mut self, line: usize, what: impl Into<String>) {
        self.faults.push(format!("{line}: {}", what.into()));
    }

    fn comment(&mut self, line: usize, comment: &str, marks: &mut Marks) {
        if let Some(path) = comment.strip_prefix("file: ") {
            marks.file = Some(path.into());
        } else if let Some(reason) = comment.strip_prefix("not run:") {
            marks.not_run = true;
            if reason.trim().len() < 10 {
                self.fault(line, "why it is not run is not said");
            }
        } else if let Some(order) = comment.strip_prefix("docs test: ") {
            self.order(line, order, marks);
        }
    }

    fn order(&mut self, line: usize, order: &str, marks: &mut Marks) {
        let (word, rest) = order.split_once(' ').unwrap_or((order, ""));
        let step = match (word, rest) {
            ("numbers", "vary") => return marks.numbers_vary = true,
            ("stays", "") => return marks.stays = true,
            ("needs", _) => return self.needs.extend(rest.split(' ').map(str::to_owned)),
            ("web", ports) => Step::Servers(ports.split(' ').filter_map(|word| word.parse().ok()).collect()),
            ("given", command) => Step::Given(command.to_owned()),
            ("until", command) => Step::Until(command.to_owned()),
            ("load", command) => Step::Load(command.to_owned()),
            ("no", "loss") => Step::NoLoss,
            _ => return self.fault(line, format!("what is `{order}`?")),
        };
        if step == Step::Servers(Vec::new()) {
            self.fault(line, "on which ports?");
        }
        self.steps.push((line, step));
    }

    fn block(&mut self, line: usize, kind: &str, body: &[&str], marks: Marks, page: &str) {
        let text = || body.join("\n") + "\n";
        match (marks.file, kind) {
            _ if marks.not_run => {}
            (Some(path), _) => {
                // Whoever reads the page does not see the comment.
                if page.matches(&format!("`{}`", path.display())).count() == 0 {
                    self.fault(line, format!("the text does not name {}", path.display()));
                }
                self.steps.push((line, Step::File(path, text())));
                if kind == "toml" {
                    self.steps.push((line, Step::Check(text())));
                }
            }
            (None, "toml") => self.steps.push((line, Step::Check(text()))),
            (None, "bash" | "sh" | "shell") => self.fault(line, "what is to be typed is a block `console`"),
            (None, "console") => self.console(line, body, marks.numbers_vary, marks.stays),
            (None, _) => {}
        }
    }

    fn console(&mut self, line: usize, body: &[&str], numbers_vary: bool, stays: bool) {
        let mut commands: Vec<(usize, Command)> = Vec::new();
        for (text, number) in body.iter().zip(line + 1..) {
            let prompt = PROMPTS.iter().find_map(|(prompt, who)| Some((text.strip_prefix(prompt)?, *who)));
            match (prompt, commands.last_mut()) {
                (_, Some((_, last))) if last.goes_on() => last.more(text),
                (None, Some((_, last))) if last.output.is_empty() && text.starts_with("> ") => {
                    last.more(&text[2..]);
                }
                (Some((text, who)), _) => {
                    let text = text.to_owned();
                    commands.push((number, Command { who, text, numbers_vary, ..Command::default() }));
                }
                (None, Some((_, last))) if *text == "^C" => last.ends = Ends::Interrupted,
                (None, Some((_, last))) => last.output.push((*text).to_owned()),
                (None, None) => return self.fault(number, "output of no command"),
            }
        }
        if let Some((_, last)) = commands.last_mut().filter(|_| stays) {
            last.ends = Ends::WithThePage;
        }
        self.steps.extend(commands.into_iter().map(|(number, command)| (number, Step::Command(command))));
    }
}

impl Marks {
    fn is_empty(&self) -> bool {
        self.file.is_none() && !self.not_run && !self.numbers_vary && !self.stays
    }
}

impl Command {
    fn goes_on(&self) -> bool {
        self.output.is_empty() && self.text.ends_with('\\')
    }

    fn more(&mut self, text: &str) {
        self.text.push('\n');
        self.text.push_str(text);
    }
}

fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")
}
