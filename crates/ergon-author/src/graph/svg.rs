//! A graph as a picture.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::layers::{Cell, layers};
use super::{Drawing, Node};

const ROW: usize = 56;
const BOX: usize = 36;
const GAP: usize = 56;
const MARGIN: usize = 16;
/// How wide a character is at most, in the size that is used.
const CHARACTER: usize = 8;

const CSS: &str = "text{font:13px sans-serif;text-anchor:middle;fill:#1f2328}.mark{font-size:10px;fill:#59636e}\
rect{fill:#f6f8fa;stroke:#59636e}.final{fill:none;stroke-dasharray:4}.link{fill:none;stroke:#59636e}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.mark{fill:#9198a1}rect{fill:#151b23;stroke:#9198a1}\
.final{fill:none}.link{stroke:#9198a1}}";

pub(super) fn draw(drawing: &Drawing) -> String {
    let layers = layers(drawing);
    let finals: Vec<usize> = (0..drawing.nodes.len()).filter(|at| drawing.nodes[*at].is_final).collect();
    let rows = layers.columns.iter().map(Vec::len).max().unwrap_or(0);
    let mut body = String::new();
    let mut x = MARGIN;
    let mut lefts = Vec::new();
    let mut widths = Vec::new();
    for column in &layers.columns {
        let of = |cell: &Cell| if let Cell::Task(at) = cell { width(&drawing.nodes[*at]) } else { 0 };
        widths.push(column.iter().map(of).max().unwrap_or(0));
        lefts.push(x);
        x += widths[widths.len() - 1] + GAP;
    }
    // Short columns stand in the middle.
    let y = |column: usize, row: usize| {
        MARGIN + row * ROW + (rows - layers.columns[column].len()) * ROW / 2 + BOX / 2
    };
    let mut ways: BTreeMap<usize, String> = BTreeMap::new();
    for (column, from, to, link) in &layers.links {
        let (x0, y0) = (lefts[*column] + widths[*column], y(*column, *from));
        let (x1, y1) = (lefts[column + 1], y(column + 1, *to));
        let middle = usize::midpoint(x0, x1);
        let way = ways.entry(*link).or_default();
        if way.is_empty() {
            let _ = write!(way, "M{x0} {y0}");
        } else {
            let _ = write!(way, "H{x0}");
        }
        let ends = matches!(layers.columns[column + 1][*to], Cell::Task(_));
        let x1 = if ends { x1 - 5 } else { x1 };
        let _ = write!(way, "C{middle} {y0} {middle} {y1} {x1} {y1}");
    }
    for (link, way) in &ways {
        let link = &drawing.links[*link];
        let title: Vec<&str> = link.results.iter().map(String::as_str).collect();
        let title = if title.is_empty() {
            String::new()
        } else {
            format!("<title>{}</title>", escaped(&title.join(", ")))
        };
        let _ = writeln!(body, "<path class=\"link\" marker-end=\"url(#end)\" d=\"{way}\">{title}</path>");
    }
    for (column, cells) in layers.columns.iter().enumerate() {
        for (row, cell) in cells.iter().enumerate() {
            if let Cell::Task(at) = cell {
                boxed(&mut body, &drawing.nodes[*at], lefts[column], y(column, row), widths[column]);
            }
        }
    }
    let mut right = x.saturating_sub(GAP);
    let mut bottom = MARGIN + rows * ROW - if rows > 0 { ROW - BOX } else { 0 };
    if !finals.is_empty() {
        let top = bottom + MARGIN;
        let mut x = MARGIN * 2;
        for at in finals {
            let wide = width(&drawing.nodes[at]);
            boxed(&mut body, &drawing.nodes[at], x, top + 24 + BOX / 2, wide);
            x += wide + MARGIN;
        }
        let _ = writeln!(
            body,
            "<rect class=\"final\" x=\"{MARGIN}\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"6\"/>\
             <text class=\"mark\" x=\"{}\" y=\"{}\">finally</text>",
            x - MARGIN,
            BOX + 36,
            MARGIN * 3,
            top + 15
        );
        right = right.max(x);
        bottom = top + BOX + 36;
    }
    let (right, bottom) = (right + MARGIN, bottom + MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right}\" height=\"{bottom}\" \
         viewBox=\"0 0 {right} {bottom}\">\n<style>{CSS}</style>\n\
         <defs><marker id=\"end\" viewBox=\"0 0 8 8\" refX=\"3\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#59636e\"/></marker></defs>\n{body}</svg>\n"
    )
}

fn width(node: &Node) -> usize {
    let marks = node.marks.join(", ");
    node.name.chars().count().max(marks.chars().count()) * CHARACTER + 24
}

/// A task's box, whose left side and middle are given.
fn boxed(body: &mut String, node: &Node, x: usize, y: usize, width: usize) {
    let middle = x + width / 2;
    let _ =
        write!(body, "<rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{BOX}\" rx=\"6\"/>", y - BOX / 2);
    let name = escaped(&node.name);
    if node.marks.is_empty() {
        let _ = writeln!(body, "<text x=\"{middle}\" y=\"{}\">{name}</text>", y + 5);
    } else {
        let _ = writeln!(
            body,
            "<text x=\"{middle}\" y=\"{}\">{name}</text><text class=\"mark\" x=\"{middle}\" y=\"{}\">{}</text>",
            y - 1,
            y + 12,
            escaped(&node.marks.join(", "))
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
