//! Where Ergon keeps its things on this machine.

use std::env;
use std::path::PathBuf;

/// `$ERGON_HOME`, or `ergon` in `$XDG_DATA_HOME` or `~/.local/share`. `None` when none of the three is known.
pub fn home() -> Option<PathBuf> {
    home_from(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn home_from(var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    var("ERGON_HOME")
        .or_else(|| var("XDG_DATA_HOME").map(|dir| dir.join("ergon")))
        .or_else(|| var("HOME").map(|dir| dir.join(".local/share/ergon")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variable_wins() {
        let all = [("ERGON_HOME", "/e"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        for (skip, wanted) in
            [(0, Some("/e")), (1, Some("/x/ergon")), (2, Some("/h/.local/share/ergon")), (3, None)]
        {
            let known = &all[skip..];
            let found = home_from(|name| {
                known.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            });
            assert_eq!(found, wanted.map(PathBuf::from));
        }
    }
}
