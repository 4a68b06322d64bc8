//! What goes to standard output: lines only, so that it reads the same in a
//! terminal and in a build server's log. Colours only in a terminal, and not if
//! `NO_COLOR` is set. A reader who has gone is not an error.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// How a line of the timeline is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It goes on.
    Plain,
    /// Something is sick.
    Bad,
    /// It is well.
    Good,
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Console {
    colours: bool,
    begun: Instant,
}

impl Console {
    /// Of this process; the environment is read here.
    pub(crate) fn of_process() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: stdout().is_terminal() && !refused, begun: Instant::now() }
    }

    /// A heading, with the time since the start.
    pub(crate) fn stage(&self, title: &str) {
        let at = format!("[{:>5.1} s]", self.begun.elapsed().as_secs_f64());
        self.line(&format!("\n{} {}", self.paint(DIM, at), self.paint(BOLD, title)));
    }

    /// A command as the reader would type it.
    pub(crate) fn command(&self, command: &str) {
        self.line(&self.paint(DIM, format!("  $ {command}")));
    }

    /// One sentence.
    pub(crate) fn say(&self, sentence: &str) {
        self.line(&format!("  {sentence}"));
    }

    /// Text of several lines, set off to the right.
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
        // Padded before it is painted: escapes have no width.
        let word = self.paint(colour, format!("{word:<12}"));
        self.line(&format!("  {:>+7.1} s  {word} {what}", since_fault.as_secs_f64()));
    }

    /// Columns as wide as what is in them.
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

    /// How it ended: well.
    pub(crate) fn success(&self, what: &str) {
        let took = self.begun.elapsed().as_secs_f64();
        self.line(&format!("\n{} ({took:.0} s in all)", self.paint(GREEN, format!("demo: {what}"))));
    }

    /// How it ended: not well.
    pub(crate) fn failure(&self, what: &str) {
        self.line(&format!("\n{}", self.paint(RED, format!("demo: {what}"))));
    }

    /// What was left on purpose, and how to remove it.
    pub(crate) fn kept(&self, commands: &[String]) {
        self.line("\nEverything is left as it is. To remove it:");
        for command in commands {
            self.command(command);
        }
    }

    fn paint(&self, colour: &str, text: impl Display) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }

    #[allow(clippy::unused_self, reason = "whoever prints has the console in hand")]
    fn line(&self, line: &str) {
        let _ = writeln!(stdout(), "{line}");
    }
}
