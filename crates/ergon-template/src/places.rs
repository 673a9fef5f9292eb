//! Where values stand in a script that has them pasted in as text: what tools need that turn such a script into one
//! that reads them from the environment.

use std::ops::Range;

use crate::language::{Language, interpreter};
use crate::shell::{Lexer, Place};

/// How a variable has to be written in the place of a value, so that the shell reads the same for all values that are
/// no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// A bare word, or a part of one: `"$NAME"`.
    Word,
    /// Inside double quotes, or in a here-document: `${NAME}`.
    Double,
    /// Inside single quotes, which have to end before it: `'"$NAME"'`.
    Single,
}

/// Whether a shell reads the script, by its first line.
pub fn is_shell(script: &str) -> bool {
    Language::of(script) == Language::Shell
}

/// How each value stands. `values` are their places, in order; none where a variable cannot stand in its place, or
/// where it is not known.
pub fn places(script: &str, values: &[Range<usize>]) -> Vec<Option<Quoting>> {
    let mut found = vec![None; values.len()];
    let is_known_shell = Language::of(script) == Language::Shell && interpreter(script) != "zsh";
    if !is_known_shell {
        return found;
    }
    let mut lexer = Lexer::default();
    let mut read = 0;
    for (place, range) in found.iter_mut().zip(values) {
        let (Some(before), Some(value)) = (script.get(read..range.start), script.get(range.clone())) else {
            break;
        };
        if lexer.feed(before, false).is_err() {
            break;
        }
        match lexer.place(false, false) {
            Ok(Place::Word) => *place = Some(Quoting::Word),
            Ok(Place::Double) => *place = Some(Quoting::Double),
            Ok(Place::Single) => *place = Some(Quoting::Single),
            // What stands there now is read as the text that it is.
            Ok(Place::Arithmetic) | Err(_) => {
                if lexer.feed(value, false).is_err() {
                    break;
                }
            }
        }
        read = range.end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of all `@`.
    fn of(script: &str) -> Vec<Option<Quoting>> {
        let values: Vec<_> = script.match_indices('@').map(|(at, _)| at..at + 1).collect();
        places(script, &values)
    }

    #[test]
    fn places_are_told_apart() {
        use Quoting::{Double, Single, Word};
        assert_eq!(
            of("# @\necho @ \"a @\" 'b @' $(date @) c@d\n"),
            [None, Some(Word), Some(Double), Some(Single), Some(Word), Some(Word)]
        );
        assert_eq!(of("cat <<E\n@\nE\ncat <<'E'\n@\nE\necho @\n"), [Some(Double), None, Some(Word)]);
        assert_eq!(of("@ x\neval @\necho `a @` ${b:-@} @"), [None, None, None, None, Some(Word)]);
        assert_eq!(of("#!/usr/bin/env python3\nprint(@)"), [None]);
        // What follows what is not understood is not known.
        assert_eq!(of("echo @ $'a\\'b' @"), [Some(Word), None]);
    }
}
