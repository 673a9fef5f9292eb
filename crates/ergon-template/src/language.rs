//! The languages that scripts are written in, as far as their shebangs tell.

/// How values get into a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// By references to the environment, quoted for their places.
    Shell,
    /// As literals.
    Python,
    Node,
    Ruby,
    Perl,
    /// Not known here: not at all, but for what the task's author has written down.
    Other,
}

const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "zsh"];

impl Language {
    pub fn of(source: &str) -> Self {
        match interpreter(source) {
            name if SHELLS.contains(&name) => Self::Shell,
            "node" | "nodejs" => Self::Node,
            "ruby" => Self::Ruby,
            "perl" => Self::Perl,
            name if name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') == "python" => {
                Self::Python
            }
            _ => Self::Other,
        }
    }
}

/// The interpreter that a script's first line names, without its folder.
pub(crate) fn interpreter(script: &str) -> &str {
    let Some(line) = script.strip_prefix("#!").and_then(|rest| rest.lines().next()) else { return "sh" };
    let mut words = line.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or_default());
    match words.next().unwrap_or_default() {
        "env" => words.find(|word| !word.starts_with('-') && !word.contains('=')).unwrap_or_default(),
        "busybox" => words.next().unwrap_or_default(),
        word => word,
    }
}
