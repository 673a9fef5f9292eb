//! Texts that are no scripts: names alone, in which nothing has to be quoted.

use crate::expr::Expr;
use crate::parse::{Part, parse};
use crate::template::{Error, Used, position};

/// A piece of a text with tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Name(Used),
}

/// The pieces of a text in which tags may name values.
///
/// # Errors
/// A tag that is none, or that is more than a name.
pub fn pieces(text: &str) -> Result<Vec<Piece>, Error> {
    let piece = |part| match part {
        Part::Text { text, .. } => Ok(Piece::Text(text)),
        Part::Value { at, expr: Expr::Name(name, 0), .. } if !name.starts_with(['@']) => {
            let (line, column) = position(text, at);
            Ok(Piece::Name(Used { name, line, column }))
        }
        Part::Value { at, expr, .. } => {
            let instead = "a name alone, or the helper in a `script`";
            Err(Error::at(text, at, format!("`{expr}` in a field that is no script"), instead))
        }
        Part::If { at, .. } | Part::Each { at, .. } | Part::With { at, .. } => {
            let instead = "names alone, or the block in a `script`";
            Err(Error::at(text, at, "a block in a field that is no script".to_owned(), instead))
        }
    };
    parse(text)?.into_iter().map(piece).collect()
}
