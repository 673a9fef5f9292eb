//! `docs/cli.md` is what the command line is. `UPDATE=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command};

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let mut command = ergon_cli::command();
    command.build();
    let text = reference(&command);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "docs/cli.md is out of date: run this test with UPDATE=1");
}

fn reference(command: &Command) -> String {
    let mut text = String::from(
        "# The command `ergon`\n\n<!-- Generated from the definition of the command line. -->\n\n",
    );
    let about = command.get_long_about().or(command.get_about()).unwrap().to_string();
    let _ = writeln!(text, "{about}\n");
    text.push_str("Every command takes these:\n\n");
    options(&mut text, command.get_arguments().filter(|arg| arg.is_global_set()));
    for command in command.get_subcommands() {
        section(&mut text, command.get_name(), command);
        for inner in command.get_subcommands() {
            section(&mut text, &format!("{} {}", command.get_name(), inner.get_name()), inner);
        }
    }
    text.trim_end().to_owned() + "\n"
}

fn section(text: &mut String, name: &str, command: &Command) {
    let _ = writeln!(text, "## `ergon {name}`\n");
    let about = command.get_long_about().or(command.get_about()).unwrap();
    let about = about.to_string();
    let _ = writeln!(text, "{}.\n", about.trim_end_matches('.'));
    let aliases: Vec<String> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "Also {}.\n", aliases.join(", "));
    }
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(text, "```\n{}\n```\n", usage.trim_start_matches("Usage: "));
    options(text, command.get_arguments().filter(|arg| !arg.is_global_set()));
    if let Some(examples) = command.get_after_long_help() {
        let examples = examples.to_string();
        let _ = writeln!(
            text,
            "```\n{}\n```\n",
            examples.trim_start_matches("Examples:\n").replace("\n  ", "\n").trim()
        );
    }
}

fn options<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    for argument in
        arguments.filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
    {
        let help =
            argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|_| argument.get_action().takes_values())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let values =
            if values.is_empty() { String::new() } else { format!(" One of {}.", values.join(", ")) };
        let mut help = help.replace('\n', " ");
        if !help.ends_with('.') {
            help.push('.');
        }
        let _ = writeln!(text, "- `{}`: {help}{values}", name(argument));
    }
    text.push('\n');
}

fn name(argument: &Arg) -> String {
    let value = argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    if argument.is_positional() {
        return value;
    }
    let flags = [
        argument.get_short().map(|short| format!("-{short}")),
        argument.get_long().map(|long| format!("--{long}")),
    ];
    let flags = flags.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if argument.get_action().takes_values() { format!("{flags} {value}") } else { flags }
}
