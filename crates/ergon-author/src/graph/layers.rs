//! Where each task stands: a column for each step of the longest way to it, and a row in it.

use std::collections::BTreeMap;

use super::Drawing;

/// What is at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Task(usize),
    /// A link goes through.
    Through,
}

/// Columns from left to right. All links lead from one column to the next.
#[derive(Debug)]
pub(super) struct Layers {
    pub columns: Vec<Vec<Cell>>,
    /// From (column, row) to (column + 1, row), with the number of the link that it is a part of.
    pub links: Vec<(usize, usize, usize, usize)>,
}

/// The columns of all tasks but the final ones, without the links that follow from others.
pub(super) fn layers(drawing: &Drawing) -> Layers {
    let links: Vec<usize> = (0..drawing.links.len())
        .filter(|at| !drawing.links[*at].is_implied && !drawing.nodes[drawing.links[*at].to].is_final)
        .collect();
    let column = columns(drawing, &links);
    let mut columns: Vec<Vec<Cell>> = vec![Vec::new(); column.iter().max().map_or(0, |last| last + 1)];
    let mut row = vec![0; drawing.nodes.len()];
    for (at, node) in drawing.nodes.iter().enumerate().filter(|(_, node)| !node.is_final) {
        let _ = node;
        row[at] = columns[column[at]].len();
        columns[column[at]].push(Cell::Task(at));
    }
    // A link over several columns goes through a place in each of those between.
    let mut parts: Vec<(usize, usize, usize, usize)> = Vec::new();
    for at in links {
        let link = &drawing.links[at];
        let mut from = row[link.from];
        for between in column[link.from]..column[link.to] {
            let to = if between + 1 == column[link.to] {
                row[link.to]
            } else {
                columns[between + 1].push(Cell::Through);
                columns[between + 1].len() - 1
            };
            parts.push((between, from, to, at));
            from = to;
        }
    }
    let mut layers = Layers { columns, links: parts };
    for _ in 0..4 {
        layers.sweep(true);
        layers.sweep(false);
    }
    layers.sweep(true);
    layers
}

/// The column of each node: one after the last of those that it waits for.
fn columns(drawing: &Drawing, links: &[usize]) -> Vec<usize> {
    let mut waiting = vec![0; drawing.nodes.len()];
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in links {
        let link = &drawing.links[*at];
        waiting[link.to] += 1;
        children.entry(link.from).or_default().push(link.to);
    }
    let mut column = vec![0; drawing.nodes.len()];
    let mut ready: Vec<usize> = (0..drawing.nodes.len()).filter(|at| waiting[*at] == 0).collect();
    while let Some(at) = ready.pop() {
        for child in children.get(&at).into_iter().flatten() {
            column[*child] = column[*child].max(column[at] + 1);
            waiting[*child] -= 1;
            if waiting[*child] == 0 {
                ready.push(*child);
            }
        }
    }
    column
}

impl Layers {
    /// Puts each place near those that it is linked with, in the column before or after.
    fn sweep(&mut self, forward: bool) {
        let count = self.columns.len();
        let order: Vec<usize> =
            if forward { (1..count).collect() } else { (0..count.saturating_sub(1)).rev().collect() };
        for at in order {
            let mut sums = vec![(0, 0); self.columns[at].len()];
            for (column, from, to, _) in &self.links {
                if forward && column + 1 == at {
                    sums[*to] = (sums[*to].0 + from, sums[*to].1 + 1);
                } else if !forward && *column == at {
                    sums[*from] = (sums[*from].0 + to, sums[*from].1 + 1);
                }
            }
            let mut rows: Vec<usize> = (0..sums.len()).collect();
            // A thousandth of a row is exact enough, and the same everywhere.
            let wanted = |row: &usize| match sums[*row] {
                (_, 0) => row * 1000,
                (sum, count) => sum * 1000 / count,
            };
            rows.sort_by_key(wanted);
            self.permute(at, &rows);
        }
    }

    /// Brings the rows of a column into this order.
    fn permute(&mut self, at: usize, rows: &[usize]) {
        let mut new = vec![0; rows.len()];
        for (to, from) in rows.iter().enumerate() {
            new[*from] = to;
        }
        self.columns[at] = rows.iter().map(|row| self.columns[at][*row]).collect();
        for (column, from, to, _) in &mut self.links {
            if *column == at {
                *from = new[*from];
            }
            if *column + 1 == at {
                *to = new[*to];
            }
        }
    }
}
