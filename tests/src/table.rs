//! The output of `kubectl get`.

use std::collections::BTreeMap;

/// A table. Cells are named by their columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// From left to right.
    pub columns: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<BTreeMap<String, String>>,
}

impl Table {
    /// Parses the output of kubectl. A cell starts below its column's name, and may be empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        let mut starts: Vec<usize> = Vec::new();
        let mut before = ' ';
        for (at, letter) in header.char_indices() {
            if before == ' ' && letter != ' ' {
                starts.push(at);
            }
            before = letter;
        }
        let cells = |line: &str| -> Vec<String> {
            let ends = starts.iter().skip(1).copied().chain([line.len()]);
            let cell = |(start, end): (&usize, usize)| line.get(*start..end.min(line.len())).unwrap_or_default();
            starts.iter().zip(ends).map(|span| cell(span).trim().to_owned()).collect()
        };
        let columns = cells(header);
        let rows = lines.map(|line| columns.iter().cloned().zip(cells(line)).collect()).collect();
        Self { columns, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_below_their_columns() {
        let table = Table::parse("NAME     OUTCOME   AGE\nmemory             5s\nerrors   Failed    2m\n");
        assert_eq!(table.columns, ["NAME", "OUTCOME", "AGE"]);
        assert_eq!(table.rows[0]["OUTCOME"], "");
        assert_eq!(table.rows[0]["AGE"], "5s");
        assert_eq!(table.rows[1]["OUTCOME"], "Failed");
    }
}
