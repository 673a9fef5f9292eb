//! Every file in `tests/data/valid` is accepted; every file in `tests/data/invalid` is refused with exactly the
//! diagnostics in the `# expect: line:column: path: message` lines at its start, in any order.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ergon_api::{Config, Diagnostic, Object, SetDefaults, Validate, parse_bytes};

/// Names a folder of manifests of others, all valid, to be read as well.
const MORE: &str = "ERGON_COMPAT_MANIFESTS";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn data(folder: &str) -> Vec<PathBuf> {
    let found = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder));
    assert!(!found.is_empty(), "no manifests in {folder}");
    found
}

/// All that is wrong with a file, whichever step finds it.
fn problems(path: &Path) -> Vec<Diagnostic> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    problems_in(&fs::read(path).unwrap(), &name)
}

fn problems_in(manifest: &[u8], name: &str) -> Vec<Diagnostic> {
    match parse_bytes(manifest, name) {
        Ok(documents) => documents.iter().flat_map(ergon_api::Document::check).collect(),
        Err(problems) => problems,
    }
}

#[test]
fn invalid_manifests_are_refused_with_the_right_words() {
    let mut failures = Vec::new();
    for path in data("invalid") {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let expected: BTreeSet<String> =
            text.lines().filter_map(|line| line.strip_prefix("# expect: ")).map(str::to_owned).collect();
        let found: BTreeSet<String> = problems(&path)
            .iter()
            .map(|problem| {
                let line = problem.to_string();
                line.strip_prefix(&format!("{}:", problem.file)).unwrap_or(&line).to_owned()
            })
            .collect();
        if expected.is_empty() || expected != found {
            failures.push(format!(
                "{}\n  expected:\n    {}\n  found:\n    {}",
                path.display(),
                Vec::from_iter(expected).join("\n    "),
                Vec::from_iter(found).join("\n    ")
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Valid objects stay valid when defaults are filled in, and survive being written and read.
fn check_valid(path: &Path) -> Result<usize, String> {
    let name = path.display().to_string();
    let documents = parse_bytes(&fs::read(path).unwrap(), &name)
        .map_err(|problems| problems.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))?;
    for document in &documents {
        if let Some(problem) = document.check().first() {
            return Err(problem.to_string());
        }
        macro_rules! round_trip {
            ($object:expr) => {{
                let mut object = $object.clone();
                let group = object.group();
                object.set_defaults(group, &Config::default());
                let errors = object.validate(&Config::default());
                if !errors.is_empty() {
                    return Err(format!("{name}: with defaults: {}", ergon_api::validate::summary(&errors)));
                }
                let json = serde_json::to_value(&object).unwrap();
                let again = serde_json::from_value(json).unwrap();
                if object != again {
                    return Err(format!(
                        "{name}: changed by being written and read: {object:#?}\n{again:#?}"
                    ));
                }
            }};
        }
        match &document.object {
            Object::Task(object) => round_trip!(object),
            Object::Pipeline(object) => round_trip!(object),
            Object::TaskRun(object) => round_trip!(object),
            Object::PipelineRun(object) => round_trip!(object),
            Object::StepAction(object) => round_trip!(object),
            Object::CustomRun(object) => round_trip!(object),
            Object::Other(_) => {}
        }
    }
    Ok(documents.len())
}

#[test]
fn valid_manifests_are_accepted() {
    let failures: Vec<String> = data("valid").iter().filter_map(|path| check_valid(path).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn manifests_of_others_are_accepted() {
    let Some(folder) = std::env::var_os(MORE) else {
        eprintln!("skipped: {MORE} is not set");
        return;
    };
    let results: Vec<Result<usize, String>> =
        files(Path::new(&folder)).iter().map(|path| check_valid(path)).collect();
    let objects: usize = results.iter().flatten().sum();
    let failures: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(objects > 0, "no objects in {}", folder.display());
    eprintln!("{} files, {objects} objects, {} refused", results.len(), failures.len());
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The page on the language shows what is true: each manifest on it is accepted, or refused where it says so.
#[test]
fn the_manifests_of_the_language_page_are_as_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language.md");
    let text = fs::read_to_string(&page).unwrap();
    let mut seen = [0, 0];
    for block in text.split("\n```yaml").skip(1) {
        let (head, rest) = block.split_once('\n').unwrap();
        let manifest = rest.split("\n```").next().unwrap();
        let found = problems_in(manifest.as_bytes(), "docs/language.md");
        let is_refused = head.trim() == "refused";
        assert_eq!(is_refused, !found.is_empty(), "{manifest}\n{found:?}");
        if let [problem] = found.as_slice() {
            let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let told = problem.to_string();
            let told = told.split_once(": ").map_or(told.as_str(), |(_, message)| message);
            assert!(flat(&text).contains(&flat(told)), "the page does not say: {told}");
        }
        seen[usize::from(is_refused)] += 1;
    }
    assert!(seen[0] >= 3 && seen[1] >= 1, "{seen:?}");
}
