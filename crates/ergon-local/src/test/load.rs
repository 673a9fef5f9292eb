//! Reading tests, and all that they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ergon_api::{Diagnostic, Document, ParamValue, SourceMap, manifest};

use super::definition::Short;
use super::matcher::pattern;
use super::names::{Names, steps};
use super::{Definition, KIND, Mock, Suite, TestError, Workspace, find};

/// Reads the tests of one file, with the manifests that they name.
///
/// # Errors
/// Files that cannot be read; everything that is wrong in them, with its place.
pub fn load(file: &Path) -> Result<Vec<Suite>, TestError> {
    let text = read(file)?;
    let wrong = |problems: Vec<Diagnostic>| TestError::Wrong { problems, text: text.clone() };
    let read = manifest::parse_as::<Definition>(&text, &shown(file), KIND).map_err(wrong)?;
    let mut suites = Vec::new();
    let mut problems = Vec::new();
    for (definition, source) in read {
        let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let documents = match manifests(&definition, &source, folder)? {
            Ok(documents) => documents,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let target = match crate::target(&documents, definition.spec.run.as_deref()) {
            Ok(target) => target,
            Err(error) => {
                let help = Some("name it with `run`, or say which `files` to read".to_owned());
                problems.push(source.diagnose_value("spec.run", error.to_string(), help));
                continue;
            }
        };
        let at = documents.iter().position(|document| std::ptr::eq(document, target)).unwrap_or_default();
        let checker = Checker { definition: &definition, source: &source, folder, documents: &documents, at };
        problems.extend(checker.problems());
        suites.push(Suite { folder: folder.to_owned(), target: at, documents, definition, source });
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if problems.is_empty() { Ok(suites) } else { Err(wrong(problems)) }
}

fn read(file: &Path) -> Result<String, TestError> {
    std::fs::read_to_string(file)
        .map_err(|error| TestError::Unreadable(format!("cannot read `{}`: {error}", file.display())))
}

/// The manifests that the tests are about. The inner error is one of the test's own file.
fn manifests(
    definition: &Definition,
    source: &SourceMap,
    folder: &Path,
) -> Result<Result<Vec<Document>, Diagnostic>, TestError> {
    let mut documents = Vec::new();
    match &definition.spec.files {
        Some(files) => {
            for (at, name) in files.iter().enumerate() {
                let path = folder.join(name);
                if !path.is_file() {
                    let message = format!("there is no file `{}`", path.display());
                    return Ok(Err(source.diagnose_value(&format!("spec.files[{at}]"), message, None)));
                }
                documents.extend(objects(&path)?);
            }
        }
        None => {
            for path in beside(folder)? {
                let text = read(&path)?;
                // What is no manifest is none of ours; a manifest that is wrong is told with its place.
                let head = manifest::head(&text).ok().flatten();
                if head.is_some_and(|(_, kind)| kind != KIND) {
                    documents.extend(objects(&path)?);
                }
            }
        }
    }
    Ok(Ok(documents))
}

/// The files in the folder above `tests`, or in the tests' own folder where it has another name.
fn beside(folder: &Path) -> Result<Vec<PathBuf>, TestError> {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let depth = real.ancestors().position(|folder| folder.file_name().is_some_and(|name| name == "tests"));
    let above =
        (0..=depth.map_or(0, |depth| depth + 1)).skip(1).fold(folder.to_owned(), |at, _| at.join(".."));
    let unreadable = |error| TestError::Unreadable(format!("cannot read `{}`: {error}", above.display()));
    let mut files = std::fs::read_dir(&above)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .map_err(unreadable)?;
    files.retain(|path| path.is_file() && find::is_yaml(path));
    files.sort();
    Ok(files)
}

fn objects(file: &Path) -> Result<Vec<Document>, TestError> {
    let text = read(file)?;
    let wrong = |problems| TestError::Wrong { problems, text: text.clone() };
    let documents = manifest::parse(&text, &shown(file)).map_err(wrong)?;
    let problems: Vec<_> = documents.iter().flat_map(Document::check).collect();
    if problems.is_empty() { Ok(documents) } else { Err(wrong(problems)) }
}

/// A path without `./` and the detour `tests/..`.
pub(super) fn shown(file: &Path) -> String {
    let mut parts: Vec<std::path::Component<'_>> = Vec::new();
    for part in file.components() {
        let back = part == std::path::Component::ParentDir;
        if back && matches!(parts.last(), Some(std::path::Component::Normal(_))) {
            parts.pop();
        } else if part != std::path::Component::CurDir {
            parts.push(part);
        }
    }
    parts.iter().collect::<PathBuf>().display().to_string()
}

struct Checker<'a> {
    definition: &'a Definition,
    source: &'a SourceMap,
    folder: &'a Path,
    documents: &'a [Document],
    at: usize,
}

impl Checker<'_> {
    fn problems(&self) -> Vec<Diagnostic> {
        let spec = &self.definition.spec;
        let names = Names::of(self.documents, &self.documents[self.at].object);
        let mut problems = Vec::new();
        if spec.cases.is_empty() {
            let help = Some("write at least one case, with a `name`".to_owned());
            problems.push(self.source.diagnose("spec.cases", "there are no cases", help));
        }
        self.given("spec", &names, &spec.params, &spec.workspaces, &spec.mocks, &mut problems);
        let mut seen = BTreeSet::new();
        for (at, case) in spec.cases.iter().enumerate() {
            let path = format!("spec.cases[{at}]");
            if !seen.insert(&case.name) {
                let message = format!("there is another case `{}`", case.name);
                problems.push(self.source.diagnose_value(&format!("{path}.name"), message, None));
            }
            self.given(&path, &names, &case.params, &case.workspaces, &case.mocks, &mut problems);
            let path = format!("{path}.expect");
            let expect = &case.expect;
            self.known(&path, "tasks", "task", expect.tasks.keys(), names.tasks.as_ref(), &mut problems);
            self.known(
                &path,
                "results",
                "result",
                expect.results.keys(),
                names.results.as_ref(),
                &mut problems,
            );
            self.known(
                &path,
                "workspaces",
                "workspace",
                expect.workspaces.keys(),
                names.workspaces.as_ref(),
                &mut problems,
            );
            for (at, line) in expect.log.iter().enumerate() {
                if let Short::Whole(line) = line
                    && let Some(text) = &line.matches
                    && let Err(message) = pattern(text)
                {
                    let path = format!("{path}.log[{at}].matches");
                    problems.push(self.source.diagnose_value(&path, message, None));
                }
            }
        }
        problems
    }

    fn given(
        &self,
        path: &str,
        names: &Names,
        params: &BTreeMap<String, ParamValue>,
        workspaces: &BTreeMap<String, Workspace>,
        mocks: &BTreeMap<String, Mock>,
        problems: &mut Vec<Diagnostic>,
    ) {
        self.known(path, "params", "parameter", params.keys(), names.params.as_ref(), problems);
        self.known(path, "workspaces", "workspace", workspaces.keys(), names.workspaces.as_ref(), problems);
        for (name, workspace) in workspaces {
            if let Some(from) = &workspace.from
                && !self.folder.join(from).is_dir()
            {
                let message = format!("there is no folder `{}`", shown(&self.folder.join(from)));
                let path = format!("{path}.workspaces.{name}.from");
                problems.push(self.source.diagnose_value(&path, message, None));
            }
            for file in workspace.files.keys().filter(|file| !is_below(file)) {
                let message = format!("`{file}` is no path in the workspace");
                let path = format!("{path}.workspaces.{name}.files.{file}");
                problems.push(self.source.diagnose(&path, message, None));
            }
        }
        let mocked = mocks.keys().filter(|name| *name != "*");
        self.known(path, "mocks", "task", mocked, names.tasks.as_ref(), problems);
        for (name, mock) in mocks.iter().filter(|(_, mock)| !mock.steps.is_empty()) {
            let task = task_of(name);
            let steps = steps(self.documents, &self.documents[self.at].object, task);
            let path = format!("{path}.mocks.{name}");
            self.known(&path, "steps", "step", mock.steps.keys(), steps.as_ref(), problems);
            let whole = Mock { steps: mock.steps.clone(), ..Mock::default() } != *mock;
            if whole {
                let help = Some("what a mocked step leaves stands in `steps`".to_owned());
                let message = "with `steps` a task is carried out, so nothing else can be said of it";
                problems.push(self.source.diagnose(&path, message, help));
            }
        }
    }

    /// Each of these must be one of the known names.
    fn known<'n>(
        &self,
        path: &str,
        field: &str,
        what: &str,
        names: impl Iterator<Item = &'n String>,
        known: Option<&BTreeSet<String>>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let Some(known) = known else { return };
        for name in names {
            // What is in pipelines of pipelines is not looked at.
            let first = if what == "task" { task_of(name) } else { name };
            if known.contains(first) || what == "task" && name.contains('/') {
                continue;
            }
            let object = &self.documents[self.at].object;
            let message = format!("{} `{}` has no {what} `{name}`", object.kind(), object.name());
            let help = match ergon_api::nearest(first, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it has none".to_owned(),
                None => format!("there are: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
            };
            problems.push(self.source.diagnose(&format!("{path}.{field}.{name}"), message, Some(help)));
        }
    }
}

/// The task that a leg of a matrix is of.
pub(super) fn task_of(name: &str) -> &str {
    name.split_once('[').map_or(name, |(task, _)| task)
}

pub(super) fn is_below(path: &str) -> bool {
    let mut parts = Path::new(path).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}
