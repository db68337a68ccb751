//! Pages of the documentation, typed as they stand.
//!
//! A [`page::Page`] is what a file says is to be done; a [`stage::Stage`] is a host and a client to do it on, where every
//! path and port that the page names is free; a [`terminal::Terminal`] is where it is typed, and [`output`] tells
//! whether what comes back is what is printed in the page. [`reader`] does all of it; [`links`] are followed without.
//!
//! | in a page | is |
//! |---|---|
//! | a block `console` | typed: `# ` by root, `$ ` by alice, `client$ ` on another host; `> ` and what follows a `\` go on a command, other lines are what it prints |
//! | `…` in that | any text; alone on a line any lines |
//! | `^C` after that | Ctrl-C, once the lines before it were printed |
//! | a block `toml` | checked with `wocut check` |
//! | `<!-- file: PATH -->` | before a block: it is this file, which the text around it names |
//! | `<!-- not run: REASON -->` | before a block: it cannot be run in a test |
//! | `<!-- docs test: numbers vary -->` | before a block: numbers, as words of their own, may be others |
//! | `<!-- docs test: stays -->` | before a block: its last command runs until the page ends |
//! | `<!-- docs test: needs PROGRAM... -->` | these have to be there |
//! | `<!-- docs test: web servers on PORT... -->` | servers that answer with their ports |
//! | `<!-- docs test: given COMMAND -->` | what a reader has already; `PostgreSQL` and `the original` are scripts beside this |
//! | `<!-- docs test: until COMMAND -->` | waits until that succeeds |
//! | `<!-- docs test: load COMMAND -->` | clients do this over and over, until |
//! | `<!-- docs test: no loss -->` | here: every time it has succeeded |

pub mod links;
pub mod output;
pub mod page;
pub mod reader;
pub mod stage;
pub mod terminal;
