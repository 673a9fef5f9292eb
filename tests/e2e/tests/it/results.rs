//! What steps write is what the run has: texts, lists, maps, and more than a termination message holds.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, in_space};
use ergon_api::{ParamValue, PipelineRun, TaskRun};

#[tokio::test]
async fn results_of_every_type_travel() -> Result<()> {
    in_space("results", async |space| {
        let run: PipelineRun = space
            .run(
                r#"
apiVersion: ergon.dev/v1
kind: PipelineRun
metadata: {name: typed}
spec:
  pipelineSpec:
    results:
    - {name: list, value: "$(tasks.make.results.list[*])"}
    - {name: map, value: "$(tasks.make.results.map[*])"}
    - {name: seen, value: $(tasks.use.results.seen)}
    tasks:
    - name: make
      taskSpec:
        results:
        - {name: text}
        - {name: list, type: array}
        - {name: map, type: object, properties: {key: {type: string}}}
        steps:
        - name: make
          image: localhost/busybox:1
          script: |
            printf 'a "quoted" $HOME line' > $(results.text.path)
            printf '["one","two words"]' > $(results.list.path)
            printf '{"key":"value"}' > $(results.map.path)
    - name: use
      params:
      - {name: text, value: $(tasks.make.results.text)}
      - {name: list, value: ["$(tasks.make.results.list[*])"]}
      - {name: second, value: "$(tasks.make.results.list[1])"}
      - {name: key, value: $(tasks.make.results.map.key)}
      taskSpec:
        params: [{name: text}, {name: list, type: array}, {name: second}, {name: key}]
        results: [{name: seen}]
        steps:
        - name: use
          image: localhost/busybox:1
          command: [sh, -c, 'printf "%s;" "$@" > $(results.seen.path)', sh]
          args: [$(params.text), "$(params.list[*])", $(params.second), $(params.key)]
"#,
            )
            .await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let status = run.status.context("no status")?;
        let value =
            |name: &str| status.results.iter().find(|result| result.name == name).map(|result| &result.value);
        assert_eq!(value("list"), Some(&ParamValue::Array(vec!["one".into(), "two words".into()])));
        assert_eq!(value("map"), Some(&ParamValue::Object([("key".into(), "value".into())].into())));
        assert_eq!(value("seen"), Some(&r#"a "quoted" $HOME line;one;two words;two words;value;"#.into()));
        Ok(())
    })
    .await
}

/// A termination message holds 4096 bytes: larger results come by the agent's report.
#[tokio::test]
async fn a_result_may_be_larger_than_a_termination_message() -> Result<()> {
    in_space("large", async |space| {
        let run: TaskRun = space.run(&writes("large", 100_000)).await?;
        assert_eq!(run.reason(), "Succeeded", "{}", run.message());
        let status = run.status.context("no status")?;
        let text = status.results[0].value.as_str().unwrap_or_default();
        assert!(text.len() == 100_000 && text.bytes().all(|byte| byte == b'x'), "{} bytes", text.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_result_over_the_limit_is_refused() -> Result<()> {
    in_space("too-large", async |space| {
        let run: TaskRun = space.run(&writes("too-large", 3 << 20)).await?;
        assert_eq!(run.reason(), "TaskRunResultLargerThanAllowedLimit", "{}", run.message());
        assert!(run.message().contains("`text`") || run.message().contains("\"text\""), "{}", run.message());
        assert!(run.status.context("no status")?.results.is_empty());
        space.quiet().await
    })
    .await
}

fn writes(name: &str, bytes: usize) -> String {
    format!(
        r"
apiVersion: ergon.dev/v1
kind: TaskRun
metadata: {{name: {name}}}
spec:
  taskSpec:
    results: [{{name: text}}]
    steps:
    - name: write
      image: localhost/busybox:1
      script: head -c {bytes} /dev/zero | tr '\0' x > $(results.text.path)
"
    )
}
