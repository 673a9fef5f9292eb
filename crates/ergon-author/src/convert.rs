//! From Tekton's API group to Ergon's and back, in the text.
//!
//! The kinds and fields are the same; what differs is how values get into scripts. Only that is changed: `apiVersion`,
//! the scripts, and braces that mean something else in the other group. What is checked when a manifest is applied is
//! checked of what comes out, and a script that would be refused stays as it is, with the reason.

mod fields;
mod to_ergon;
mod to_tekton;

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{Diagnostic, Group, manifest};
use granit_parser::ScalarStyle;

use crate::scalars::{Scalar, scalars, written};

/// A manifest in the other group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The whole text.
    pub text: String,
    /// What to know about it, in the order of the text.
    pub notes: Vec<Note>,
}

/// Something to know about a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It means something slightly different now.
    Differs(Diagnostic),
    /// It stays as it was, and works as it did.
    Left(Diagnostic),
    /// It has no equivalent: what came out cannot be applied, or does something else.
    Lost(Diagnostic),
}

impl Note {
    /// Where it is, and what.
    pub fn diagnostic(&self) -> &Diagnostic {
        match self {
            Self::Differs(it) | Self::Left(it) | Self::Lost(it) => it,
        }
    }
}

impl Converted {
    /// Whether all of it has an equivalent.
    pub fn is_whole(&self) -> bool {
        !self.notes.iter().any(|note| matches!(note, Note::Lost(_)))
    }
}

/// Brings all objects of a file into a group. What is of that group already, or of neither, stays as it is.
///
/// # Errors
/// What is wrong with the file as it is.
pub fn convert(text: &str, file: &str, to: Group) -> Result<Converted, Vec<Diagnostic>> {
    check(text, file)?;
    let unread = |problem: &str| {
        let (file, message) = (file.to_owned(), problem.to_owned());
        vec![Diagnostic { file, line: 1, column: 1, path: String::new(), message, help: None }]
    };
    let scalars = scalars(text).ok_or_else(|| unread("not a YAML that can be edited"))?;
    let objects = objects(&scalars, to);
    let mut kept = BTreeMap::new();
    loop {
        let mut edits = Edits { text, file, edits: BTreeMap::new(), notes: Vec::new() };
        for (at, scalar) in scalars.iter().enumerate() {
            let root = objects.iter().rev().find(|object| object.holds(scalar));
            let Some(root) = root else { continue };
            let is_kept = kept.contains_key(&at);
            match to {
                Group::Ergon if is_kept => to_ergon::kept(at, scalar, &mut edits),
                Group::Tekton if is_kept => {}
                Group::Ergon => to_ergon::scalar(root, at, scalar, &mut edits),
                Group::Tekton => to_tekton::scalar(root, at, scalar, &mut edits),
            }
        }
        let text = edits.apply(&scalars);
        if let Some(broken) = edits.broken(&text, scalars.len()) {
            // An edit that reads otherwise than it was meant to is none.
            kept.insert(broken, "it cannot be written in its style".to_owned());
            continue;
        }
        let problems = check(&text, file).err().unwrap_or_default();
        let mut refused = false;
        for problem in &problems {
            let edited = edits.edits.keys().find(|at| {
                let scalar = &scalars[**at];
                scalar.path.ends_with(&problem.path)
                    && problem.path.ends_with("script")
                    && scalar.line == problem.line
            });
            if let Some(at) = edited {
                refused |= kept.insert(*at, problem.message.clone() + &help(problem)).is_none();
            }
        }
        if refused {
            continue;
        }
        let mut notes = edits.notes;
        for (at, why) in &kept {
            notes.push(to_note(to, file, &scalars[*at], why));
        }
        notes.extend(problems.into_iter().map(Note::Lost));
        notes.sort_by_key(|note| (note.diagnostic().line, note.diagnostic().column));
        return Ok(Converted { text, notes });
    }
}

fn help(problem: &Diagnostic) -> String {
    problem.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"))
}

fn to_note(to: Group, file: &str, scalar: &Scalar, why: &str) -> Note {
    match to {
        Group::Ergon => {
            let message = format!("this script stays as it is, and values become code in it: {why}");
            Note::Left(at(file, scalar, message))
        }
        Group::Tekton => Note::Lost(at(file, scalar, why.to_owned())),
    }
}

fn at(file: &str, scalar: &Scalar, message: String) -> Diagnostic {
    Diagnostic {
        file: file.to_owned(),
        line: scalar.line,
        column: scalar.column,
        path: scalar.path.clone(),
        message,
        help: None,
    }
}

/// What reading and checking the text finds.
fn check(text: &str, file: &str) -> Result<(), Vec<Diagnostic>> {
    let documents = manifest::parse(text, file)?;
    let problems: Vec<Diagnostic> = documents.iter().flat_map(manifest::Document::check).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// An object that is to be converted.
struct Object {
    document: usize,
    /// The path of the object itself: empty, or `items[0]` in a List.
    root: String,
    kind: String,
    /// Lists and maps among the parameters, by the path of what declares them: `spec`, `spec.tasks[0].taskSpec`.
    lists: BTreeSet<(String, String)>,
}

impl Object {
    fn holds(&self, scalar: &Scalar) -> bool {
        let rest = scalar.path.strip_prefix(&self.root);
        let below = |rest: &str| self.root.is_empty() || rest.starts_with('.');
        self.document == scalar.document && rest.is_some_and(below)
    }

    /// The field's path in its object.
    fn path<'a>(&self, scalar: &'a Scalar) -> &'a str {
        scalar.path[self.root.len()..].trim_start_matches('.')
    }
}

/// The objects that are of the other group.
fn objects(scalars: &[Scalar], to: Group) -> Vec<Object> {
    let value = |document: usize, path: &str| {
        scalars.iter().find(|one| one.document == document && one.path == path).map(|one| one.value.as_str())
    };
    let mut found = Vec::new();
    for scalar in scalars {
        let Some(root) = scalar.path.strip_suffix("apiVersion") else { continue };
        let root = root.trim_end_matches('.');
        let is_object =
            root.is_empty() || root.starts_with("items[") && root.ends_with(']') && !root.contains('.');
        let join = |name: &str| if root.is_empty() { name.to_owned() } else { format!("{root}.{name}") };
        let (Some(group), Some(kind)) = (Group::of(&scalar.value), value(scalar.document, &join("kind")))
        else {
            continue;
        };
        let known = ["Task", "TaskRun", "Pipeline", "PipelineRun", "StepAction", "CustomRun"];
        if !is_object || group == to || !known.contains(&kind) {
            continue;
        }
        let lists =
            scalars.iter().filter(|one| one.document == scalar.document && one.path.starts_with(root));
        let lists = lists.filter_map(|one| {
            let declaration = match one.path.strip_suffix(".default[0]") {
                Some(declaration) => declaration,
                None if one.value == "array" => one.path.strip_suffix(".type")?,
                None => return None,
            };
            let (around, _) = declaration.rsplit_once(".params[")?;
            let name = value(scalar.document, &format!("{declaration}.name"))?;
            Some((around.to_owned(), name.to_owned()))
        });
        let lists = lists.collect();
        found.push(Object { document: scalar.document, root: root.to_owned(), kind: kind.to_owned(), lists });
    }
    found
}

/// What is to be another text.
#[expect(clippy::struct_field_names, reason = "the edits are what there is to it")]
struct Edits<'a> {
    text: &'a str,
    file: &'a str,
    /// By the scalar's number: its new value, and the new text in its place.
    edits: BTreeMap<usize, (String, String)>,
    notes: Vec<Note>,
}

impl Edits<'_> {
    /// Gives a scalar the value that `rewrite` makes of its own.
    fn rewrite(&mut self, at: usize, scalar: &Scalar, rewrite: impl Fn(&str) -> String) {
        let value = rewrite(&scalar.value);
        if value == scalar.value {
            return;
        }
        let text = match scalar.style {
            // A block's text is its value but for the indentation, which is no part of what is rewritten.
            ScalarStyle::Literal | ScalarStyle::Folded => rewrite(&self.text[scalar.place.clone()]),
            style => written(&value, style, scalar.in_flow),
        };
        self.edits.insert(at, (value, text));
    }

    /// The whole text with the edits in it.
    fn apply(&self, scalars: &[Scalar]) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut from = 0;
        for (at, (_, new)) in &self.edits {
            let place = &scalars[*at].place;
            out += &self.text[from..place.start];
            out += new;
            from = place.end;
        }
        out + &self.text[from..]
    }

    /// An edit that, read again, is not what it was meant to be.
    fn broken(&self, text: &str, count: usize) -> Option<usize> {
        let read = scalars(text).filter(|read| read.len() == count);
        let mut edits = self.edits.iter();
        match read {
            Some(read) => edits.find(|(at, (value, _))| read[**at].value != *value).map(|(at, _)| *at),
            None => edits.next().map(|(at, _)| *at),
        }
    }

    fn differs(&mut self, scalar: &Scalar, line: usize, message: String) {
        let mut diagnostic = at(self.file, scalar, message);
        diagnostic.line += line;
        if line > 0 {
            diagnostic.column = 1;
        }
        self.notes.push(Note::Differs(diagnostic));
    }

    fn lost(&mut self, scalar: &Scalar, message: String) {
        self.notes.push(Note::Lost(at(self.file, scalar, message)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "# A task.
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: t} # its name
spec:
  params:
    - name: branch
    - {name: list, type: array, default: [a]}
    - {name: mode, enum: [fast, slow]}
  results: [{name: r}]
  steps:
    - name: one
      image: x:$(params.branch)
      args: ['{{.Id}}', '$(params.list[*])']
      script: |
        # checks out
        git checkout $(params.branch)
        echo \"on $(params['branch'])\" '{{x}}' > $(results.r.path)
    - {name: two, image: x, script: 'echo \"it''s $(params.branch)\"'}
    - name: three
      image: x
      script: |
        #!/usr/bin/env python3
        print(\"$(params.branch)\")
";

    fn lines<'a>(from: &'a str, to: &'a str) -> Vec<(&'a str, &'a str)> {
        from.lines().zip(to.lines()).filter(|(one, other)| one != other).collect()
    }

    fn messages(converted: &Converted) -> Vec<(usize, String)> {
        converted
            .notes
            .iter()
            .map(|note| (note.diagnostic().line, note.diagnostic().message.clone()))
            .collect()
    }

    #[test]
    fn to_ergon_and_back() {
        let there = convert(TASK, "f", Group::Ergon).unwrap();
        assert_eq!(
            lines(TASK, &there.text),
            [
                ("apiVersion: tekton.dev/v1", "apiVersion: ergon.dev/v1"),
                (
                    "      args: ['{{.Id}}', '$(params.list[*])']",
                    "      args: ['\\{{.Id}}', '$(params.list[*])']"
                ),
                ("        git checkout $(params.branch)", "        git checkout {{params.branch}}"),
                (
                    "        echo \"on $(params['branch'])\" '{{x}}' > $(results.r.path)",
                    "        echo \"on {{params.branch}}\" '\\{{x}}' > {{results.r.path}}"
                ),
                (
                    "    - {name: two, image: x, script: 'echo \"it''s $(params.branch)\"'}",
                    "    - {name: two, image: x, script: 'echo \"it''s {{params.branch}}\"'}"
                ),
                ("        print(\"$(params.branch)\")", "        print({{params.branch}})"),
            ]
        );
        let [(17, differs)] = &messages(&there)[..] else { panic!("{:?}", there.notes) };
        assert!(differs.starts_with("`$(params.branch)` is one word now"), "{differs}");
        assert_eq!(convert(&there.text, "f", Group::Ergon).unwrap().text, there.text);

        let back = convert(&there.text, "f", Group::Tekton).unwrap();
        assert!(back.is_whole());
        let changed = lines(TASK, &back.text);
        assert_eq!(
            changed,
            [
                (
                    "        echo \"on $(params['branch'])\" '{{x}}' > $(results.r.path)",
                    "        echo \"on $(params.branch)\" '{{x}}' > $(results.r.path)"
                ),
                ("        print(\"$(params.branch)\")", "        print($(params.branch))"),
            ]
        );
    }

    #[test]
    fn what_cannot_be_safe_stays_and_is_told() {
        let text = TASK.replace("git checkout $(params.branch)", "eval \"$(params.branch)\"");
        let converted = convert(&text, "f", Group::Ergon).unwrap();
        assert!(converted.text.contains("eval \"$(params.branch)\""));
        assert!(converted.text.contains("print({{params.branch}})"), "others are converted");
        let found = messages(&converted);
        // It has the text `{{` in it, which is a tag now: that cannot be.
        assert!(found[0].1.contains("stays as it is") && found[0].1.contains("reads as code"), "{found:?}");
        assert!(!converted.is_whole());
        let text = text.replace(" '{{x}}'", "");
        let converted = convert(&text, "f", Group::Ergon).unwrap();
        assert!(converted.is_whole(), "{:?}", converted.notes);
        assert_eq!(converted.notes.len(), 1);
    }

    #[test]
    fn what_only_tekton_reads_is_written_as_today() {
        let text = TASK.replace("git checkout $(params.branch)", "eval \"$(inputs.params.branch)\"");
        let text = text.replace(" '{{x}}'", "").replace("x:$(params.branch)", "x:$(inputs.params.branch)");
        let text = text.replace("# checks out", "ls /tekton/results");
        let converted = convert(&text, "f", Group::Ergon).unwrap();
        assert!(converted.text.contains("eval \"$(params.branch)\""), "{}", converted.text);
        assert!(converted.text.contains("x:$(params.branch)"), "{}", converted.text);
        assert!(converted.is_whole());
        let found = messages(&converted);
        assert!(found.iter().any(|(_, message)| message.starts_with("`/tekton/` is not there")), "{found:?}");
    }

    #[test]
    fn what_tekton_does_not_have_is_told() {
        let text = "apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: p}
spec:
  fuse: pod
  params: [{name: list, type: array}, {name: num}]
  tasks:
    - name: a
      taskRef: {name: a}
      params:
        - {name: one, value: \"{{params.list}}\"}
        - {name: two, value: 'is {{params.num}}, \\{{x}}'}
    - name: b
      taskSpec:
        params: [{name: x, default: a}]
        steps:
          - name: s
            image: i
            script: |
              {{#if params.x}}
              echo {{params.x}}
              {{/if}}
";
        let converted = convert(text, "f", Group::Tekton).unwrap();
        assert!(converted.text.contains("value: \"$(params.list[*])\""), "{}", converted.text);
        assert!(converted.text.contains("value: 'is $(params.num), {{x}}'"), "{}", converted.text);
        let found = messages(&converted);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], (5, "`fuse` is Ergon's alone".to_owned()));
        assert!(found[1].1.contains("block"), "{found:?}");
    }

    #[test]
    fn others_stay_and_mistakes_are_told() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: $(params.x)}\n";
        assert_eq!(
            convert(text, "f", Group::Ergon).unwrap(),
            Converted { text: text.to_owned(), notes: vec![] }
        );
        assert!(convert("a: [", "f", Group::Ergon).is_err());
        let wrong = TASK.replace("image: x, ", "imgae: x, ");
        assert!(convert(&wrong, "f", Group::Ergon).unwrap_err()[0].message.contains("imgae"));
    }

    #[test]
    fn conditions_have_names_or_references() {
        let tekton = "apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: p}
spec:
  params: [{name: branch}, {name: image-tag}]
  tasks:
    - name: a
      taskRef: {name: t}
      when:
        - cel: \"'$(params.branch)' == 'main' && '$(params.image-tag)'.startsWith('v')\"
    - name: b
      taskRef: {name: t}
      when: [{cel: \"'$(tasks.a.results.r)' in ['x'] && 'a.params.b' != ''\"}]
";
        let ergon = convert(tekton, "f", Group::Ergon).unwrap();
        assert!(ergon.is_whole(), "{:?}", ergon.notes);
        assert_eq!(
            lines(tekton, &ergon.text)[1..],
            [
                (
                    "        - cel: \"'$(params.branch)' == 'main' && '$(params.image-tag)'.startsWith('v')\"",
                    "        - cel: \"params.branch == 'main' && params['image-tag'].startsWith('v')\""
                ),
                (
                    "      when: [{cel: \"'$(tasks.a.results.r)' in ['x'] && 'a.params.b' != ''\"}]",
                    "      when: [{cel: \"tasks.a.results.r in ['x'] && 'a.params.b' != ''\"}]"
                ),
            ]
        );
        let back = convert(&ergon.text, "f", Group::Tekton).unwrap();
        assert_eq!(back.text, tekton);
        assert_eq!(messages(&back).len(), 2, "{:?}", back.notes);

        let typed = ergon
            .text
            .replace("{name: branch}", "{name: branch, type: array}")
            .replace("== 'main'", ".size() > 1");
        let typed = typed.replace("params.branch .size", "params.branch.size");
        assert!(!convert(&typed, "f", Group::Tekton).unwrap().is_whole());
    }

    /// All manifests below the folder that `ERGON_MANIFESTS` names become others that can be applied, or it is told why
    /// not; and back.
    #[test]
    fn a_folder_of_manifests() {
        let Some(folder) = std::env::var_os("ERGON_MANIFESTS") else {
            println!("skipped: ERGON_MANIFESTS names no folder");
            return;
        };
        let mut folders = vec![std::path::PathBuf::from(folder)];
        let (mut whole, mut left, mut lost) = (0, 0, 0);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                if path.extension().is_none_or(|end| end != "yaml") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.display().to_string();
                let converted = match convert(&text, &name, Group::Ergon) {
                    Ok(converted) => converted,
                    Err(problems) => {
                        println!("wrong already: {}", problems[0]);
                        continue;
                    }
                };
                for note in &converted.notes {
                    println!(
                        "{}{}",
                        if matches!(note, Note::Lost(_)) { "lost: " } else { "" },
                        note.diagnostic()
                    );
                }
                left += converted.notes.iter().filter(|note| matches!(note, Note::Left(_))).count();
                if !converted.is_whole() {
                    lost += 1;
                    continue;
                }
                whole += 1;
                assert_eq!(check(&converted.text, &name), Ok(()));
                assert_eq!(convert(&converted.text, &name, Group::Ergon).unwrap().text, converted.text);
                assert!(!converted.text.contains("apiVersion: tekton.dev"), "{name}");
                let comments =
                    |text: &str| text.lines().filter(|line| line.trim_start().starts_with('#')).count();
                assert_eq!(comments(&converted.text), comments(&text), "{name}");
                let back = convert(&converted.text, &name, Group::Tekton).unwrap();
                assert!(back.is_whole(), "{name}: {:?}", back.notes);
                assert!(crate::format(&converted.text).is_some(), "{name}");
            }
        }
        println!("{whole} are whole, {left} scripts stay as they are, {lost} have no equivalent");
        assert!(whole > 0);
    }
}
