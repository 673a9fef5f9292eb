//! The beginnings of Tasks and Pipelines, each with a test that passes.

/// A file to be made, relative to the new folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    pub path: String,
    pub text: String,
}

/// A Task of this name, which greets.
pub fn task(name: &str) -> Vec<NewFile> {
    files(&[("task.yaml", TASK), (&format!("tests/{name}.yaml"), TASK_TEST)], name)
}

/// A Pipeline of this name, with two Tasks written out in it.
pub fn pipeline(name: &str) -> Vec<NewFile> {
    files(&[("pipeline.yaml", PIPELINE), (&format!("tests/{name}.yaml"), PIPELINE_TEST)], name)
}

fn files(templates: &[(&str, &str)], name: &str) -> Vec<NewFile> {
    let file = |(path, text): &(&str, &str)| NewFile {
        path: (*path).to_owned(),
        text: text.trim_start().replace("NAME", name),
    };
    templates.iter().map(file).collect()
}

const TASK: &str = r#"
apiVersion: ergon.dev/v1
kind: Task
metadata:
  name: NAME
spec:
  description: What it does, in a sentence.
  params:
    - name: who
      description: What a run may set. Without a default it has to.
      default: world
  results:
    - name: greeting
      description: What later tasks may use.
  steps:
    - name: greet
      image: docker.io/library/busybox:1.37
      timeout: 5m
      # A value is never read as a part of the script, whatever is in it.
      script: |
        echo "Hello, {{params.who}}!"
        printf 'Hello, %s!' {{params.who}} > {{results.greeting.path}}
"#;

const TASK_TEST: &str = r#"
# ergon test
apiVersion: ergon.dev/v1
kind: Test
metadata:
  name: NAME
spec:
  cases:
    - name: greets whoever it is told to
      params: {who: Ada}
      # Without the mock the step runs in its image.
      mocks:
        "*": {results: {greeting: "Hello, Ada!"}}
      expect:
        results: {greeting: "Hello, Ada!"}
"#;

const PIPELINE: &str = r#"
apiVersion: ergon.dev/v1
kind: Pipeline
metadata:
  name: NAME
spec:
  description: What it does, in a sentence.
  params:
    - name: version
      description: What is built.
  results:
    - name: artifact
      value: "{{tasks.build.results.artifact}}"
  tasks:
    - name: build
      timeout: 10m
      params:
        - {name: version, value: "{{params.version}}"}
      taskSpec:
        params:
          - name: version
        results:
          - name: artifact
        steps:
          - name: build
            image: docker.io/library/busybox:1.37
            script: |
              echo "builds {{params.version}}"
              printf 'app-%s' {{params.version}} > {{results.artifact.path}}
    # It uses a result of `build`, and so waits for it.
    - name: publish
      timeout: 10m
      params:
        - {name: artifact, value: "{{tasks.build.results.artifact}}"}
      taskSpec:
        params:
          - name: artifact
        steps:
          - name: publish
            image: docker.io/library/busybox:1.37
            script: |
              echo "publishes {{params.artifact}}"
  # Whatever happens.
  finally:
    - name: report
      timeout: 1m
      params:
        - {name: status, value: "{{tasks.status}}"}
      taskSpec:
        params:
          - name: status
        steps:
          - name: report
            image: docker.io/library/busybox:1.37
            script: |
              echo "ended: {{params.status}}"
"#;

const PIPELINE_TEST: &str = r#"
# ergon test: with all tasks mocked it takes milliseconds and needs no image.
apiVersion: ergon.dev/v1
kind: Test
metadata:
  name: NAME
spec:
  params: {version: "1.0"}
  mocks:
    build: {results: {artifact: app-1.0}}
    "*": {}
  cases:
    - name: what was built is published
      expect:
        results: {artifact: app-1.0}
        tasks:
          publish: {params: {artifact: app-1.0}}
          report: {params: {status: Succeeded}}
    - name: nothing is published that is not built
      mocks: {build: {exitCode: 1}}
      expect:
        status: Failed
        tasks: {publish: Skipped, report: Succeeded}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_right_and_laid_out() {
        for files in [task("greet"), pipeline("release")] {
            for file in files {
                assert_eq!(crate::format(&file.text).as_ref(), Some(&file.text), "{}", file.path);
                if !file.path.starts_with("tests/") {
                    let documents = ergon_api::parse(&file.text, &file.path).unwrap();
                    assert_eq!(documents[0].check(), []);
                }
            }
        }
    }
}
