//! `ergon lint`: what is wrong with manifests, and what should not be done in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ergon_lint::{Finding, Level, Lines, Options, RULES, Rule, Set, Source};
use similar::TextDiff;

use crate::console::Console;
use crate::failure::{Code, Failure, Result};
use crate::lint::{Input, around, read, sarif};
use crate::render::{Table, finding, findings_json};

/// Says what is wrong with manifests, and what should not be done in them.
///
/// All that the webhook refuses is found, what one object asks of another, and practices that do harm later. A Task,
/// Pipeline or StepAction that is referred to is looked for in the same file, in the same folder, then in all files.
/// `# ergon-lint: ignore=RULE` in a line, or above it, takes a finding away; docs/lint.md has a page for each rule. Exit
/// codes: 0 nothing found, 1 something found, 2 wrong usage, 4 a file that cannot be read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon lint                                  all manifests below this folder
  ergon lint tasks pipeline.yaml --level info
  ergon lint --diff .tekton                   what --fix would change
  ergon lint --rule missing-timeout=error --rule root=off
  ergon lint -o sarif > lint.sarif")]
pub struct LintArgs {
    /// Files, and folders with manifests in them or below; `-` is standard input, and this folder is taken when absent.
    #[arg(value_name = "PLACE")]
    places: Vec<PathBuf>,

    /// Mend what can be mended without asking.
    #[arg(long)]
    fix: bool,

    /// Show what --fix would change, and change nothing.
    #[arg(long, conflicts_with = "fix")]
    diff: bool,

    /// Show what is of this level or above.
    #[arg(long, value_enum, default_value_t = LevelArg::Warning, value_name = "LEVEL")]
    level: LevelArg,

    /// End with 1 if something of this level or above is found.
    #[arg(long, value_enum, default_value_t = LevelArg::Warning, value_name = "LEVEL")]
    fail_on: LevelArg,

    /// Give a rule another level: info, warning, error or off. May be repeated.
    #[arg(long = "rule", value_name = "NAME=LEVEL", value_parser = rule)]
    rules: Vec<(String, Option<Level>)>,

    /// List all rules.
    #[arg(long)]
    list: bool,

    /// How to show it: text for people, JSON, or SARIF for code scanners.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: LintOutput,
}

/// How to show findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum LintOutput {
    #[default]
    Text,
    Json,
    Sarif,
}

/// A level, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LevelArg {
    Info,
    Warning,
    Error,
}

impl From<LevelArg> for Level {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::Info => Self::Info,
            LevelArg::Warning => Self::Warning,
            LevelArg::Error => Self::Error,
        }
    }
}

/// Reads `name=level`.
pub fn rule(text: &str) -> Result<(String, Option<Level>), String> {
    let Some((name, level)) = text.split_once('=') else {
        return Err("write `name=level`, as in `root=off`".to_owned());
    };
    let Some(rule) = Rule::named(name) else {
        return Err(match ergon_api::nearest(name, RULES.iter().map(|rule| rule.name)) {
            Some(near) => format!("there is no rule `{name}`; did you mean `{near}`?"),
            None => format!("there is no rule `{name}`; `ergon lint --list` names all"),
        });
    };
    let level = match level {
        "off" => None,
        _ => match Level::ALL.into_iter().find(|known| known.as_str() == level) {
            Some(level) => Some(level),
            None => return Err("the levels are info, warning, error and off".to_owned()),
        },
    };
    if rule.is_refused && level != Some(Level::Error) {
        return Err(format!(
            "what `{name}` finds is refused when it is applied or run: it is always an error"
        ));
    }
    Ok((name.to_owned(), level))
}

#[expect(clippy::needless_pass_by_value, reason = "as every command takes its arguments")]
pub fn lint(args: LintArgs, console: Console) -> Result {
    let options = Options { levels: args.rules.iter().cloned().collect(), ..Options::default() };
    if args.list {
        return list(&options, args.output, console);
    }
    let places = if args.places.is_empty() { vec![PathBuf::from(".")] } else { args.places.clone() };
    let mut inputs = read(&places)?;
    if inputs.is_empty() {
        return Err(
            Failure::invalid("there are no manifests").hint("name a file, or a folder with manifests")
        );
    }
    let around = around(&inputs);
    if args.fix || args.diff {
        mend(&mut inputs, &around, &options, args.diff, console)?;
        if args.diff {
            return Ok(());
        }
    }
    let set = Set::of(inputs.iter().map(|input| &input.source).chain(&around));
    let found: Vec<Finding> =
        inputs.iter().flat_map(|input| ergon_lint::lint_one(&input.source, &set, &options)).collect();
    let least = Level::from(args.level);
    let shown: Vec<&Finding> = found.iter().filter(|finding| finding.level >= least).collect();
    let sources: BTreeMap<&str, &Source> =
        inputs.iter().map(|input| (input.source.name.as_str(), &input.source)).collect();
    let text_of = |name: &str| {
        sources.get(name).map(|source| (source.text.as_str(), &source.lines)) as Option<(&str, &Lines)>
    };
    match args.output {
        LintOutput::Text => {
            let mut text = String::new();
            for one in &shown {
                let (content, lines) = text_of(&one.file).unwrap_or(("", &inputs[0].source.lines));
                text += &finding(one, content, lines, console.out);
                text.push('\n');
            }
            console.print(&text)?;
            console.say(&summary(&inputs, &found, &shown, least));
        }
        LintOutput::Json => console.line(&pretty(&findings_json(inputs.len(), &shown))?)?,
        LintOutput::Sarif => console.line(&pretty(&sarif(&shown, &text_of))?)?,
    }
    let fails = Level::from(args.fail_on);
    if found.iter().any(|finding| finding.level >= fails) {
        Err(Failure::silent(Code::RunFailed))
    } else {
        Ok(())
    }
}

fn pretty(value: &serde_json::Value) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::invalid(error.to_string()))
}

fn list(options: &Options, output: LintOutput, console: Console) -> Result {
    if output != LintOutput::Text {
        let rules: Vec<_> = RULES
            .iter()
            .map(|rule| {
                serde_json::json!({
                    "name": rule.name,
                    "level": options.level(rule).map_or("off", Level::as_str),
                    "summary": rule.summary,
                    "page": rule.page(),
                })
            })
            .collect();
        return console.line(&pretty(&rules.into())?);
    }
    let mut table = Table::new(&["RULE", "LEVEL", "FINDS"]);
    for rule in RULES {
        let level = options.level(rule).map_or("off", Level::as_str);
        table.row(vec![rule.name.to_owned(), level.to_owned(), rule.summary.to_owned()]);
    }
    console.print(&table.render(console.out))
}

/// Mends the files, or shows how.
fn mend(inputs: &mut [Input], around: &[Source], options: &Options, shows: bool, console: Console) -> Result {
    let mut fixed = Vec::new();
    {
        let set = Set::of(inputs.iter().map(|input| &input.source).chain(around));
        for (index, input) in inputs.iter().enumerate() {
            fixed.extend(ergon_lint::mend(&input.source, &set, options).map(|fixed| (index, fixed)));
        }
    }
    for (index, fixed) in fixed {
        let input = &mut inputs[index];
        let name = input.source.name.clone();
        if shows {
            let diff = TextDiff::from_lines(input.source.text.as_str(), fixed.text.as_str());
            let diff = diff.unified_diff().header(&name, &name).to_string();
            console.print(&diff)?;
            continue;
        }
        let Some(path) = &input.path else {
            return Err(
                Failure::usage("standard input cannot be mended").hint("`--diff` shows what would change")
            );
        };
        let before = std::fs::read(path)
            .map_err(|error| Failure::invalid(format!("cannot read `{name}`: {error}")))?;
        let mark = if before.starts_with("\u{feff}".as_bytes()) { "\u{feff}" } else { "" };
        if before.get(mark.len()..) != Some(input.source.text.as_bytes()) {
            return Err(Failure::invalid(format!("`{name}` has changed meanwhile")).hint("try it again"));
        }
        std::fs::write(path, format!("{mark}{}", fixed.text))
            .map_err(|error| Failure::invalid(format!("cannot write `{name}`: {error}")))?;
        console.say(&format!("mended {} in {name}", things(fixed.mended)));
        input.source = Source::of(&name, &fixed.text);
    }
    Ok(())
}

fn things(count: usize) -> String {
    format!("{count} problem{}", if count == 1 { "" } else { "s" })
}

fn summary(inputs: &[Input], found: &[Finding], shown: &[&Finding], least: Level) -> String {
    let count = |level| shown.iter().filter(|finding| finding.level == level).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let files = plural(inputs.len(), "file");
    let mut text = if shown.is_empty() {
        format!("no problems in {files}")
    } else {
        let levels: Vec<String> =
            [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Info, "info")]
                .into_iter()
                .filter(|(level, _)| count(*level) > 0)
                .map(|(level, word)| plural(count(level), word))
                .collect();
        format!("{} in {files}", levels.join(", "))
    };
    let sure = shown.iter().filter(|finding| finding.fix.as_ref().is_some_and(|fix| fix.is_sure)).count();
    if sure > 0 {
        text += &format!("; {sure} can be mended with `--fix`");
    }
    let hidden = found.len() - shown.len();
    if hidden > 0 && least > Level::Info {
        text += &format!("; {hidden} below the level {least}, which `--level info` shows");
    }
    text
}
