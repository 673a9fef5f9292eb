//! A script's interpreter, read from its first line, as the kernel would read it.
//!
//! The script is handed to its interpreter as a file to read and is never executed itself: so it runs from a
//! directory that is mounted noexec as well.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ergon_wire::ScriptValue;

/// The name of the script in the step's own directory.
const NAME: &str = "script";

/// What reads a script: a program, and what comes before the script's path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
}

impl Interpreter {
    /// Reads the first line.
    ///
    /// # Errors
    /// A fragment for people, where no interpreter of that name can exist.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        let line = text.lines().next().unwrap_or_default();
        let ends_in_cr = text.split('\n').next().is_some_and(|line| line.ends_with('\r'));
        let Some(line) = line.strip_prefix("#!").map(str::trim) else {
            return Ok(Self { program: "/bin/sh".to_owned(), args: Vec::new() });
        };
        if ends_in_cr {
            return Err(
                "the script's lines end with CR LF, which no interpreter here reads: save it with LF"
                    .to_owned(),
            );
        }
        let (program, rest) =
            line.split_once([' ', '\t']).map_or((line, ""), |(program, rest)| (program, rest.trim()));
        if program.is_empty() {
            return Err("the script's first line is `#!` with no interpreter: write `#!/bin/sh`".to_owned());
        }
        Ok(Self { program: program.to_owned(), args: arguments(program, rest) })
    }

    /// The program that `env` is to look up in PATH, where the interpreter is `env`.
    pub(crate) fn through_env(&self) -> Option<&str> {
        let first = self.args.first().filter(|_| is_env(&self.program))?;
        (!first.starts_with('-') && !first.contains(['=', '/', ' '])).then_some(first)
    }
}

/// All of the line is one argument, as the kernel has it; but `env -S` is there to split it, and not every `env` can.
fn arguments(program: &str, rest: &str) -> Vec<String> {
    let split = rest
        .strip_prefix("-S")
        .filter(|words| is_env(program) && !words.contains(['\'', '"', '\\', '$', '#']));
    match split {
        Some(words) => words.split_whitespace().map(str::to_owned).collect(),
        None if rest.is_empty() => Vec::new(),
        None => vec![rest.to_owned()],
    }
}

fn is_env(program: &str) -> bool {
    program == "env" || program.ends_with("/env")
}

/// Writes the script where its interpreter reads it: where it is wanted, or else in the step's own directory.
///
/// # Errors
/// A fragment for people, such as a full disk.
pub(crate) fn place(text: &str, wanted: Option<&Path>, run_dir: &Path) -> Result<PathBuf, String> {
    if let Some(wanted) = wanted {
        let made = wanted.parent().is_none_or(|directory| std::fs::create_dir_all(directory).is_ok());
        if made && write(text, wanted, 0o755).is_ok() {
            return Ok(wanted.to_owned());
        }
    }
    let path = run_dir.join(NAME);
    write(text, &path, 0o700)
        .map_err(|error| format!("the script cannot be written to `{}`: {error}", path.display()))?;
    Ok(path)
}

/// The variables that a script reads its values from. Those that are too long for the environment are put into files.
///
/// # Errors
/// A fragment for people, such as a full disk.
pub(crate) fn variables<'a>(
    values: impl Iterator<Item = (&'a String, &'a ScriptValue)>,
    run_dir: &Path,
) -> Result<Vec<(OsString, String)>, String> {
    let variable = |(name, value): (&String, &ScriptValue)| match value {
        ScriptValue::Text(text) => Ok((name.into(), text.clone())),
        ScriptValue::File(text) => {
            let path = run_dir.join(name);
            let shown = path.display().to_string();
            write(text, &path, 0o600)
                .map_err(|error| format!("a value of the script cannot be written to `{shown}`: {error}"))?;
            Ok((format!("{name}_FILE").into(), shown))
        }
        ScriptValue::Later(reference) => Err(format!("the script's value `{reference}` was not sent along")),
    };
    values.map(variable).collect()
}

/// Writes a file anew, whatever is there.
pub(crate) fn write(text: &str, path: &Path, mode: u32) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

/// The whole command line of a script.
pub(crate) fn command_line(
    interpreter: &Interpreter,
    path: &Path,
    args: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    std::iter::once(&interpreter.program)
        .chain(&interpreter.args)
        .map(OsString::from)
        .chain([path.as_os_str().to_owned()])
        .chain(args)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read_as_the_kernel_reads_it() {
        for (text, program, args, through_env) in [
            ("#!/bin/sh\nset -e", "/bin/sh", &[][..], None),
            ("#! /bin/bash \necho", "/bin/bash", &[], None),
            ("#!/bin/bash -eu -o pipefail\n", "/bin/bash", &["-eu -o pipefail"], None),
            ("#!/usr/bin/env bash\n", "/usr/bin/env", &["bash"], Some("bash")),
            ("#!/usr/bin/env\tpython3", "/usr/bin/env", &["python3"], Some("python3")),
            ("#!/usr/bin/env -S bash -e\n", "/usr/bin/env", &["bash", "-e"], Some("bash")),
            ("#!/usr/bin/env -S FOO=1 bash\n", "/usr/bin/env", &["FOO=1", "bash"], None),
            ("#!/usr/bin/env -S bash -c 'a b'\n", "/usr/bin/env", &["-S bash -c 'a b'"], None),
            ("#!/bin/awk -S -f\n", "/bin/awk", &["-S -f"], None),
            ("echo", "/bin/sh", &[], None),
            ("", "/bin/sh", &[], None),
        ] {
            let interpreter = Interpreter::of(text).unwrap();
            assert_eq!(interpreter.program, program, "{text}");
            assert_eq!(interpreter.args, args, "{text}");
            assert_eq!(interpreter.through_env(), through_env, "{text}");
        }
    }

    #[test]
    fn first_lines_that_name_nothing_are_told() {
        for (text, expected) in [
            ("#!\necho", "the script's first line is `#!` with no interpreter: write `#!/bin/sh`"),
            (
                "#!/bin/sh\r\necho\r\n",
                "the script's lines end with CR LF, which no interpreter here reads: save it with LF",
            ),
        ] {
            assert_eq!(Interpreter::of(text).unwrap_err(), expected);
        }
    }
}
