//! Indentation: where each line begins.

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, options};

/// How a line is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// With this many spaces.
    At(usize),
    /// With so many more or fewer than it has: it goes on with what an earlier line began.
    By(isize),
    /// As `By`, and its end is part of a value.
    Content(isize),
}

/// The text with every line where it belongs. None where it is no YAML.
pub(super) fn indent(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.split('\n').collect();
    let begins = vec![None; lines.len() + 1];
    let options = options! { block_scalar_eof_without_line_feed: true, emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut walk = Walk { parser, lines: &lines, begins, gaps: vec![Vec::new(); lines.len() + 1] };
    loop {
        match walk.next()? {
            (Event::StreamEnd, _) => break,
            (Event::DocumentStart(..), _) => {
                let (event, span) = walk.next()?;
                walk.node(&event, span, 0, 0, 0)?;
            }
            _ => {}
        }
    }
    let Walk { begins, gaps, .. } = walk;
    Some(rewrite(&lines, &begins, &gaps))
}

struct Walk<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines: &'a [&'a str],
    /// By the line's number, from 0.
    begins: Vec<Option<Begin>>,
    /// The columns of dashes in each line, from its text's beginning: one space comes after each.
    gaps: Vec<Vec<usize>>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        self.parser.next_event()?.ok()
    }

    /// A node that belongs at the column `at`; `owner` is the line that what contains it begins in.
    fn node(&mut self, event: &Event<'a>, span: Span, at: usize, owner: usize, depth: usize) -> Option<()> {
        if depth > 100 {
            return None;
        }
        let (line, column) = (span.start.line().checked_sub(1)?, span.start.col());
        match event {
            Event::Scalar(_, style, ..) => match style {
                ScalarStyle::Literal | ScalarStyle::Folded => self.block(span, at, owner),
                _ => self.go_on(line, span.end.line().saturating_sub(1), owner, *style != ScalarStyle::Plain),
            },
            Event::SequenceStart(..) if self.char_at(line, column) == Some('[') => {
                self.flow(line, owner)?;
            }
            Event::MappingStart(..) if self.char_at(line, column) == Some('{') => {
                self.flow(line, owner)?;
            }
            Event::SequenceStart(..) => loop {
                let (event, span) = self.next()?;
                if matches!(event, Event::SequenceEnd) {
                    break;
                }
                let dash = self.dash(span)?;
                if self.is_first(dash) {
                    self.place(dash, at);
                }
                self.node(&event, span, at + 2, dash, depth + 1)?;
            },
            Event::MappingStart(..) => loop {
                let (event, key) = self.next()?;
                if matches!(event, Event::MappingEnd) {
                    break;
                }
                if !matches!(event, Event::Scalar(..)) {
                    return None;
                }
                let line = key.start.line().checked_sub(1)?;
                if self.starts(line, key.start.col()) {
                    self.place(line, at);
                }
                let (event, span) = self.next()?;
                self.node(&event, span, at + 2, line, depth + 1)?;
            },
            Event::Alias(_) => {}
            _ => return None,
        }
        Some(())
    }

    /// A list or map in brackets: the lines after its first move with its owner.
    fn flow(&mut self, line: usize, owner: usize) -> Option<()> {
        let mut open = 1;
        let mut end = line;
        while open > 0 {
            let (event, span) = self.next()?;
            match event {
                Event::SequenceStart(..) | Event::MappingStart(..) => open += 1,
                Event::SequenceEnd | Event::MappingEnd => open -= 1,
                _ => {}
            }
            end = span.end.line().saturating_sub(1);
        }
        self.go_on(line, end, owner, false);
        Some(())
    }

    fn go_on(&mut self, first: usize, last: usize, owner: usize, content: bool) {
        let by = self.moved(owner);
        // A value that begins below its key begins with a line of its own.
        let from = if first > owner { first } else { first + 1 };
        for line in from..=last.min(self.lines.len().saturating_sub(1)) {
            self.begins[line] = Some(if content { Begin::Content(by) } else { Begin::By(by) });
        }
    }

    /// How far a line is moved.
    fn moved(&self, line: usize) -> isize {
        match self.begins.get(line) {
            Some(Some(Begin::At(at))) => difference(*at, spaces(self.lines[line])),
            Some(Some(Begin::By(by) | Begin::Content(by))) => *by,
            _ => 0,
        }
    }

    /// A block scalar: its lines below the header, which is in the line of its owner.
    fn block(&mut self, span: Span, at: usize, owner: usize) {
        let content = span.start.col();
        let is_blank = |line: &&str| line.trim().is_empty();
        let below = self.lines[owner + 1..].iter();
        let length = below.take_while(|line| is_blank(line) || spaces(line) >= content).count();
        let lines = owner + 1..owner + 1 + length;
        let header = self.lines[owner].split(" #").next().unwrap_or_default().trim_end();
        let indicators = header.rsplit(['|', '>']).next().unwrap_or_default();
        let by = if indicators.contains(|c: char| c.is_ascii_digit()) {
            self.moved(owner)
        } else {
            difference(at, content)
        };
        // Blank lines at the end are none of its own, unless it says so.
        let kept = self.lines[lines.clone()].iter().rev().take_while(|line| is_blank(line)).count();
        let end = if indicators.contains('+') { lines.end } else { lines.end - kept };
        for line in lines.start..end {
            self.begins[line] = Some(Begin::Content(by));
        }
    }

    /// The line of the dash before an item.
    fn dash(&mut self, item: Span) -> Option<usize> {
        let (mut line, column) = (item.start.line().checked_sub(1)?, item.start.col());
        let before: String = self.lines.get(line)?.chars().take(column).collect();
        if let Some(dash) = before.trim_end().strip_suffix('-') {
            self.gaps[line].push(dash.chars().count());
            return Some(line);
        }
        if !before.trim().is_empty() && !before.trim_start().starts_with('-') {
            return None;
        }
        loop {
            let text = self.lines[line].trim_start();
            if text == "-" || text.starts_with("- ") {
                return Some(line);
            }
            line = line.checked_sub(1)?;
        }
    }

    /// Whether no list around has its dash in this line.
    fn is_first(&self, line: usize) -> bool {
        self.gaps[line].len() < 2
    }

    fn place(&mut self, line: usize, at: usize) {
        self.begins[line] = Some(Begin::At(at));
    }

    fn starts(&self, line: usize, column: usize) -> bool {
        self.lines.get(line).is_some_and(|line| spaces(line) == column)
    }

    fn char_at(&self, line: usize, column: usize) -> Option<char> {
        self.lines.get(line)?.chars().nth(column)
    }
}

fn spaces(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn difference(new: usize, old: usize) -> isize {
    isize::try_from(new).unwrap_or(0) - isize::try_from(old).unwrap_or(0)
}

fn rewrite(lines: &[&str], begins: &[Option<Begin>], gaps: &[Vec<usize>]) -> String {
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        let moved = |by: isize| spaces(line).saturating_add_signed(by);
        let text = match begins[at] {
            Some(Begin::Content(by)) if line.trim().is_empty() => {
                // White space alone may be content, where it is deeper than the block.
                " ".repeat(moved(by).min(spaces(line))) + line.trim_start_matches(' ')
            }
            Some(Begin::Content(by)) => " ".repeat(moved(by)) + &line[spaces(line)..],
            Some(Begin::By(by)) => " ".repeat(moved(by)) + line.trim(),
            Some(Begin::At(column)) => " ".repeat(column) + &tight(line, &gaps[at]),
            None if line.trim().is_empty() => String::new(),
            None => " ".repeat(comment(lines, begins, at)) + line.trim(),
        };
        let blank = text.is_empty() && begins[at].is_none();
        if blank && (out.is_empty() || out.last().is_some_and(String::is_empty)) {
            continue;
        }
        out.push(text);
    }
    let mut text = out.join("\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The line without its indentation, and with one space after each of its dashes.
fn tight(line: &str, dashes: &[usize]) -> String {
    let mut dashes = dashes.to_vec();
    dashes.sort_unstable();
    let mut out = String::new();
    let mut skip = true;
    for (column, c) in line.chars().enumerate() {
        if skip && c == ' ' {
            continue;
        }
        skip = false;
        out.push(c);
        if dashes.contains(&column) {
            out.push(' ');
            skip = true;
        }
    }
    out.trim_end().to_owned()
}

/// Where a comment, or a document's mark, belongs: with the next line, or with what it stood below.
fn comment(lines: &[&str], begins: &[Option<Begin>], at: usize) -> usize {
    let own = spaces(lines[at]);
    if !lines[at].trim_start().starts_with('#') {
        return own;
    }
    let is_at = |line: &usize| matches!(begins[*line], Some(Begin::At(_)));
    let column = |line: usize| match begins[line] {
        Some(Begin::At(column)) => column,
        _ => own,
    };
    let next = (at + 1..lines.len()).find(is_at).filter(|next| !lines[at..*next].contains(&"---"));
    match next {
        Some(next) if spaces(lines[next]) >= own => column(next),
        _ => {
            let before = (0..at).rev().filter(is_at).find(|before| spaces(lines[*before]) <= own);
            let before = before.filter(|before| !lines[*before..at].contains(&"---"));
            match before {
                Some(before) => column(before) + own.saturating_sub(spaces(lines[before])).min(2),
                None => own,
            }
        }
    }
}
