//! Columns of text.

use super::Style;
use super::style::width;

/// A table without lines, as kubectl prints it.
#[derive(Debug, Clone)]
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A table with these heads of columns; with none when there is nothing to say above them.
    pub fn new(heads: &[&str]) -> Self {
        Self { heads: heads.iter().map(|head| (*head).to_owned()).collect(), rows: Vec::new(), indent: 0 }
    }

    /// Moves the table to the right.
    #[must_use]
    pub fn indented(mut self, columns: usize) -> Self {
        self.indent = columns;
        self
    }

    /// Adds a row. Line breaks become spaces: a row is one line.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| cell.replace(['\n', '\r', '\t'], " ")).collect());
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table; the heads bold where that can be.
    pub fn render(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).chain([self.heads.len()]).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().chain([&self.heads]).filter_map(|row| row.get(column));
                cells.map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        let heads: Vec<String> = self.heads.iter().map(|head| style.bold(head)).collect();
        for row in Some(&heads).filter(|heads| !heads.is_empty()).into_iter().chain(&self.rows) {
            let mut line = " ".repeat(self.indent);
            for (cell, room) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(room - width(cell) + 2));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "X"]);
        table.row(vec!["a".to_owned(), "long\nlines".to_owned()]);
        table.row(vec!["much longer".to_owned(), "b".to_owned()]);
        assert_eq!(table.render(Style::PLAIN), "NAME         X\na            long lines\nmuch longer  b\n");
        assert_eq!(Table::new(&[]).render(Style::PLAIN), "");
    }
}
