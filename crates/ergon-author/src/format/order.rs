//! The order of fields, where everybody expects the same and nothing depends on it.

use granit_parser::{Event, Parser, Span, StrInput, options};

const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
/// Lists of ours whose items have names.
const NAMED: [&str; 10] =
    ["steps", "tasks", "finally", "params", "results", "workspaces", "sidecars", "env", "volumes", "cases"];

/// The text with the fields in order; none where it stays. The text is in the layout of `indent`.
pub(super) fn order(text: &str) -> Option<String> {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let maps = maps(text)?;
    // From the innermost to the outermost: what is inside moves along.
    for map in maps.iter().rev() {
        let entries = map.chunks(&lines)?;
        let mut wanted: Vec<usize> = (0..entries.len()).collect();
        if map.list.is_none() {
            let rank = |at: &usize| TOP.iter().position(|name| *name == map.keys[*at].0).unwrap_or(TOP.len());
            wanted.sort_by_key(rank);
        } else if let Some(name) = map.keys.iter().position(|(key, _)| key == "name") {
            let commented = |at: usize| lines[entries[at].start].trim_start().starts_with('#');
            if !commented(name) && !commented(0) {
                wanted.sort_by_key(|at| *at != name);
            }
        }
        if wanted.is_sorted() {
            continue;
        }
        let dash = map.list;
        let begin = entries[0].start;
        let mut moved: Vec<String> = Vec::new();
        for at in &wanted {
            moved.extend(lines[entries[*at].clone()].iter().cloned());
        }
        if let Some(column) = dash {
            let undash = entries[0].len();
            let old = wanted.iter().take_while(|at| **at != 0).map(|at| entries[*at].len()).sum::<usize>();
            if undash == 0 || moved.is_empty() {
                continue;
            }
            let swap = |line: &str, mark: char| {
                let mut chars: Vec<char> = line.chars().collect();
                if let Some(at) = chars.get_mut(column) {
                    *at = mark;
                }
                chars.into_iter().collect::<String>()
            };
            moved[old] = swap(&moved[old], ' ');
            moved[0] = swap(&moved[0], '-');
        }
        let end = begin + moved.len();
        lines.splice(begin..end, moved);
    }
    Some(lines.join("\n"))
}

/// A map whose fields each begin on a line of their own.
struct Map {
    /// The fields, and the lines in which they begin.
    keys: Vec<(String, usize)>,
    /// The line after it.
    end: usize,
    /// For a list's item: the column of its dash.
    list: Option<usize>,
}

impl Map {
    /// The lines of each field. A comment above a field belongs to it; the one above the first field of the file does
    /// where no blank line is between them.
    fn chunks(&self, lines: &[String]) -> Option<Vec<std::ops::Range<usize>>> {
        let is_comment = |line: &String| line.trim_start().starts_with('#');
        let above = |key: usize, limit: usize| {
            let mut start = key;
            while start > limit && is_comment(&lines[start - 1]) {
                start -= 1;
            }
            start
        };
        let mut starts = Vec::new();
        for (at, (_, line)) in self.keys.iter().enumerate() {
            let limit =
                if at == 0 { if self.list.is_some() { *line } else { 0 } } else { self.keys[at - 1].1 + 1 };
            starts.push(above(*line, limit));
        }
        // What is at the end, such as blank lines and comments that stand apart, stays at the end.
        let last = self.keys.last()?.1;
        let mut end = self.end.min(lines.len());
        while end > last + 1 && (lines[end - 1].trim().is_empty() || is_comment(&lines[end - 1])) {
            end -= 1;
        }
        starts.push(end);
        Some(starts.windows(2).map(|pair| pair[0]..pair[1]).collect())
    }
}

/// The maps whose order is looked at: documents, and the items of our lists.
fn maps(text: &str) -> Option<Vec<Map>> {
    // Where a value is repeated, what repeats it must come after it.
    let options = options! { block_scalar_eof_without_line_feed: true, emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut walk = Walk { parser, lines: text.split('\n').collect(), found: Vec::new() };
    loop {
        match walk.next()? {
            (Event::StreamEnd, _) => return Some(walk.found),
            (Event::DocumentStart(..), _) => {
                let (event, span) = walk.next()?;
                walk.node(&event, span, Around::Document)?;
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Around<'k> {
    Document,
    Field(&'k str),
    Item(&'k str),
}

struct Walk<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines: Vec<&'a str>,
    found: Vec<Map>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        self.parser.next_event()?.ok()
    }

    /// Goes through a node, and gives the line after it.
    fn node(&mut self, event: &Event<'a>, span: Span, around: Around<'_>) -> Option<usize> {
        match event {
            Event::Scalar(_, _, anchor, _) if *anchor == 0 => Some(self.after(span)),
            Event::SequenceStart(_, anchor, _) if *anchor == 0 => {
                let name = if let Around::Field(name) = around { name } else { "" };
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        return Some(self.after(span));
                    }
                    self.node(&event, span, Around::Item(name))?;
                }
            }
            Event::MappingStart(_, anchor, _) if *anchor == 0 => {
                let line = span.start.line().checked_sub(1)?;
                let text = self.lines.get(line)?;
                let is_flow = text.chars().nth(span.start.col()) == Some('{');
                let list = match around {
                    Around::Item(name) if NAMED.contains(&name) => span.start.col().checked_sub(2),
                    _ => None,
                };
                let place = self.found.len();
                let mut keys = Vec::new();
                let end = loop {
                    let (event, key) = self.next()?;
                    let name = match event {
                        Event::MappingEnd => break self.after(key),
                        Event::Scalar(name, _, 0, _) => name.to_string(),
                        _ => return None,
                    };
                    let (event, value) = self.next()?;
                    self.node(&event, value, Around::Field(&name))?;
                    keys.push((name, key.start.line().checked_sub(1)?));
                };
                let own_lines = keys.windows(2).all(|pair| pair[0].1 < pair[1].1);
                let looked_at = matches!(around, Around::Document) || list.is_some();
                if !is_flow && own_lines && looked_at && !keys.is_empty() {
                    self.found.insert(place, Map { keys, end, list });
                }
                Some(end)
            }
            _ => None,
        }
    }

    /// The line after what ends here.
    fn after(&self, span: Span) -> usize {
        let line = span.end.line().saturating_sub(1);
        let ends_at_start = span.end.col() == 0
            || self
                .lines
                .get(line)
                .is_some_and(|text| text.chars().take(span.end.col()).all(char::is_whitespace));
        if ends_at_start { line } else { line + 1 }
    }
}
