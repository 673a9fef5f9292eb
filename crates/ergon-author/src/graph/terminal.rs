//! A graph in characters.

use std::collections::BTreeMap;

use super::layers::{Cell, layers};
use super::{Drawing, Node};

const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

pub(super) fn draw(drawing: &Drawing) -> String {
    let layers = layers(drawing);
    let rows = layers.columns.iter().map(Vec::len).max().unwrap_or(0);
    let mut canvas = Canvas::default();
    let mut x = 0;
    for (at, column) in layers.columns.iter().enumerate() {
        let label = |cell: &Cell| match cell {
            Cell::Task(task) => label(&drawing.nodes[*task]),
            Cell::Through => String::new(),
        };
        let width = column.iter().map(|cell| label(cell).chars().count()).max().unwrap_or(0);
        let links: Vec<_> = layers.links.iter().filter(|link| link.0 == at).collect();
        // Each place that a line comes from turns in a column of its own.
        let mut sources: Vec<usize> =
            links.iter().filter(|link| link.1 != link.2).map(|link| link.1).collect();
        sources.sort_unstable();
        sources.dedup();
        let gap = if links.is_empty() { 0 } else { sources.len() * 2 + 3 };
        for (row, cell) in column.iter().enumerate() {
            let text = label(cell);
            let end = x + text.chars().count();
            canvas.text(x, row, &text);
            let leads_on = links.iter().any(|link| link.1 == row);
            if leads_on && end < x + width {
                canvas.line(end + usize::from(!text.is_empty()), x + width, row);
            }
            if leads_on && text.is_empty() {
                canvas.line(x, x + width, row);
            }
        }
        for (_, from, to, _) in links {
            let start = x + width;
            let end = start + gap;
            let leads_to_task = matches!(layers.columns[at + 1][*to], Cell::Task(_));
            let stop = if leads_to_task { end - 2 } else { end };
            match sources.iter().position(|source| source == from) {
                Some(channel) if from != to => {
                    let turn = start + 1 + channel * 2;
                    canvas.turn(start, turn, stop, *from, *to);
                }
                _ => canvas.line(start, stop, *from),
            }
            if leads_to_task {
                canvas.text(end - 2, *to, "▶");
            }
        }
        x += width + gap;
    }
    let mut out = canvas.render(rows);
    let finals: Vec<String> = drawing.nodes.iter().filter(|node| node.is_final).map(label).collect();
    if !finals.is_empty() {
        out += &format!("\nfinally: {}\n", finals.join(", "));
    }
    out
}

fn label(node: &Node) -> String {
    if node.marks.is_empty() {
        node.name.clone()
    } else {
        format!("{} ({})", node.name, node.marks.join(", "))
    }
}

#[derive(Default)]
struct Canvas {
    texts: BTreeMap<(usize, usize), char>,
    /// Which sides of a place lines leave it at.
    lines: BTreeMap<(usize, usize), u8>,
}

impl Canvas {
    fn text(&mut self, x: usize, row: usize, text: &str) {
        for (at, c) in text.chars().enumerate() {
            self.texts.insert((row, x + at), c);
        }
    }

    fn add(&mut self, x: usize, row: usize, sides: u8) {
        *self.lines.entry((row, x)).or_default() |= sides;
    }

    /// A line in a row, up to `to` and without it.
    fn line(&mut self, from: usize, to: usize, row: usize) {
        for x in from..to {
            self.add(x, row, LEFT | RIGHT);
        }
    }

    /// A line that changes its row at the column `turn`.
    fn turn(&mut self, start: usize, turn: usize, stop: usize, from: usize, to: usize) {
        self.line(start, turn, from);
        let (first, second) = if from < to { (DOWN, UP) } else { (UP, DOWN) };
        self.add(turn, from, LEFT | first);
        for row in from.min(to) + 1..from.max(to) {
            self.add(turn, row, UP | DOWN);
        }
        self.add(turn, to, second | RIGHT);
        self.line(turn + 1, stop, to);
    }

    fn render(&self, rows: usize) -> String {
        let mut out = String::new();
        for row in 0..rows {
            let mut line = String::new();
            let in_row = (row, 0)..(row + 1, 0);
            let last = [
                self.texts.range(in_row.clone()).next_back().map(|(at, _)| at.1),
                self.lines.range(in_row).next_back().map(|(at, _)| at.1),
            ];
            for x in 0..last.into_iter().flatten().max().map_or(0, |last| last + 1) {
                line.push(match (self.texts.get(&(row, x)), self.lines.get(&(row, x))) {
                    (Some(c), _) => *c,
                    (None, Some(sides)) => shape(*sides),
                    (None, None) => ' ',
                });
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }
}

fn shape(sides: u8) -> char {
    const SHAPES: [char; 16] =
        [' ', '│', '│', '│', '─', '┘', '┐', '┤', '─', '└', '┌', '├', '─', '┴', '┬', '┼'];
    SHAPES[usize::from(sides)]
}
