//! Standard output: lines only, so that it looks the same in a terminal and in the log of a
//! build server. Colours only in a terminal, and not if `NO_COLOR` is set. A closed output
//! is not an error.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// The colour of a line of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Neither good nor bad.
    Plain,
    /// Something is unhealthy.
    Bad,
    /// Something is healthy again.
    Good,
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Console {
    colours: bool,
    begun: Instant,
}

impl Console {
    /// For this process. The environment is read here.
    pub(crate) fn of_process() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: stdout().is_terminal() && !refused, begun: Instant::now() }
    }

    /// A heading, with the time since the start.
    pub(crate) fn stage(&self, title: &str) {
        let at = format!("[{:>5.1} s]", self.begun.elapsed().as_secs_f64());
        self.line(&format!("\n{} {}", self.paint(DIM, at), self.paint(BOLD, title)));
    }

    /// A command as the user would type it.
    pub(crate) fn command(&self, command: &str) {
        self.line(&self.paint(DIM, format!("  $ {command}")));
    }

    /// One sentence.
    pub(crate) fn say(&self, sentence: &str) {
        self.line(&format!("  {sentence}"));
    }

    /// Text of several lines, indented.
    pub(crate) fn quote(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(&format!("    {line}"));
        }
    }

    /// A line of the timeline: seconds since the fault, a word, what happened.
    pub(crate) fn moment(&self, since_fault: Duration, word: &str, what: &str, tone: Tone) {
        let colour = match tone {
            Tone::Plain => BOLD,
            Tone::Bad => YELLOW,
            Tone::Good => GREEN,
        };
        // Padded before it is coloured: escape sequences have no width.
        let word = self.paint(colour, format!("{word:<12}"));
        self.line(&format!("  {:>+7.1} s  {word} {what}", since_fault.as_secs_f64()));
    }

    /// A table. Each column is as wide as its widest cell.
    pub(crate) fn table<const N: usize>(&self, header: &[&str; N], rows: &[[String; N]]) {
        let mut widths = header.map(str::len);
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.len());
            }
        }
        let join = |cells: &[String]| {
            let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.line("");
        self.say(&self.paint(BOLD, join(&header.map(str::to_owned))));
        for row in rows {
            self.say(&join(row));
        }
    }

    /// The result of a run that succeeded.
    pub(crate) fn success(&self, what: &str) {
        let took = self.begun.elapsed().as_secs_f64();
        self.line(&format!("\n{} ({took:.0} s)", self.paint(GREEN, format!("demo: {what}"))));
    }

    /// The result of a run that failed.
    pub(crate) fn failure(&self, what: &str) {
        self.line(&format!("\n{}", self.paint(RED, format!("demo: {what}"))));
    }

    /// How to remove what `--keep` keeps.
    pub(crate) fn kept(&self, commands: &[String]) {
        self.line("\nEverything is kept. To remove it, run:");
        for command in commands {
            self.command(command);
        }
    }

    fn paint(&self, colour: &str, text: impl Display) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }

    #[allow(clippy::unused_self, reason = "only code that has a console may print")]
    fn line(&self, line: &str) {
        let _ = writeln!(stdout(), "{line}");
    }
}
