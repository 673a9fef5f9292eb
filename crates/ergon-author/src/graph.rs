//! Drawings of a pipeline's graph: for a terminal, as Mermaid, DOT and SVG.

mod layers;
mod svg;
mod terminal;
mod text;

use std::collections::BTreeSet;

use ergon_api::{Group, PipelineSpec, PipelineTask, language};
use ergon_engine::graph::{EdgeKind, Graph, edges};

/// What a graph is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// With lines and arrows as characters.
    Terminal,
    /// Mermaid's text, which many web pages draw.
    Mermaid,
    /// Graphviz's text.
    Dot,
    /// A picture.
    Svg,
}

/// A task of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// It runs when all others have ended.
    pub is_final: bool,
    /// What is special about it, such as `matrix`.
    pub marks: Vec<&'static str>,
}

/// One task waits for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The number of the task that goes first.
    pub from: usize,
    pub to: usize,
    /// The results of the first that the second uses.
    pub results: BTreeSet<String>,
    /// It follows from others.
    pub is_implied: bool,
}

/// A pipeline's graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
}

impl Drawing {
    /// The graph of a pipeline. `group`: which language its texts are in.
    ///
    /// # Errors
    /// A sentence: the tasks are no graph.
    pub fn of(pipeline: &PipelineSpec, group: Group) -> Result<Self, String> {
        let mut spec = pipeline.clone();
        if group == Group::Ergon {
            language::refer_pipeline(&mut spec).map_err(|error| error.to_string())?;
            language::bind_pipeline(&mut spec);
        }
        let graph = Graph::build(&spec.tasks).map_err(|error| error.to_string())?;
        let nodes: Vec<Node> = spec
            .tasks
            .iter()
            .map(|task| node(task, false))
            .chain(spec.finally.iter().map(|task| node(task, true)))
            .collect();
        let mut links: Vec<Link> = Vec::new();
        for (to, task) in spec.all_tasks().enumerate() {
            for edge in edges(task) {
                let Some(from) = nodes.iter().position(|node| node.name == edge.needs && !node.is_final)
                else {
                    continue;
                };
                let at = links.iter().position(|link| (link.from, link.to) == (from, to));
                let at = at.unwrap_or_else(|| {
                    let is_implied = !nodes[to].is_final
                        && graph
                            .children(&edge.needs)
                            .iter()
                            .any(|child| *child != task.name && graph.reaches(child, &task.name));
                    links.push(Link { from, to, results: BTreeSet::new(), is_implied });
                    links.len() - 1
                });
                if let EdgeKind::Result { result } = edge.kind {
                    links[at].results.insert(result);
                }
            }
        }
        Ok(Self { nodes, links })
    }

    /// The graph as a text.
    pub fn draw(&self, style: Style) -> String {
        match style {
            Style::Terminal => terminal::draw(self),
            Style::Mermaid => text::mermaid(self),
            Style::Dot => text::dot(self),
            Style::Svg => svg::draw(self),
        }
    }
}

fn node(task: &PipelineTask, is_final: bool) -> Node {
    let marks = [
        (task.is_pipeline(), "pipeline"),
        (task.is_custom_task(), "custom"),
        (task.is_matrixed(), "matrix"),
        (!task.when.is_empty(), "when"),
        (task.retries.unwrap_or_default() > 0, "retries"),
        (task.continues_on_error(), "may fail"),
    ];
    let marks = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
    Node { name: task.name.clone(), is_final, marks }
}

#[cfg(test)]
mod tests {
    use ergon_api::{Object, parse};
    use expect_test::{Expect, expect};

    use super::*;

    const CI: &str = "
apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: ci}
spec:
  tasks:
    - {name: clone, taskRef: {name: clone}}
    - {name: lint, runAfter: [clone], taskRef: {name: lint}}
    - {name: test, runAfter: [clone], taskRef: {name: test}, retries: 1}
    - {name: scan, taskRef: {name: scan}, params: [{name: c, value: '{{tasks.clone.results.commit}}'}]}
    - {name: build, runAfter: [lint, test, clone], taskRef: {name: build}}
    - name: publish
      taskRef: {name: publish}
      when: [{input: '{{tasks.scan.results.ok}}', operator: in, values: ['true']}]
      params: [{name: d, value: '{{tasks.build.results.digest}} of {{tasks.clone.results.commit}}'}]
  finally:
    - {name: report, taskRef: {name: report}, params: [{name: s, value: '{{tasks.build.results.digest}}'}]}
";

    fn drawn(text: &str, style: Style) -> String {
        let documents = parse(text, "f").unwrap();
        let Object::Pipeline(pipeline) = &documents[0].object else { panic!("no pipeline") };
        Drawing::of(&pipeline.spec, pipeline.group()).unwrap().draw(style)
    }

    fn check(text: &str, style: Style, wanted: &Expect) {
        wanted.assert_eq(&drawn(text, style));
    }

    #[test]
    fn a_terminal_has_lines() {
        check(
            CI,
            Style::Terminal,
            &expect![[r"
            clone─┬─▶ lint ──────────┬───▶ build─┬─▶ publish (when)
                  ├─▶ test (retries)─┘ ┌─────────┘
                  └─▶ scan ────────────┘

            finally: report
        "]],
        );
    }

    #[test]
    fn mermaid_and_dot_have_all_links() {
        check(
            CI,
            Style::Mermaid,
            &expect![[r#"
            flowchart LR
              t0["clone"]
              t1["lint"]
              t2["test<br>(retries)"]
              t3["scan"]
              t4["build"]
              t5["publish<br>(when)"]
              subgraph finally
                t6["report"]
              end
              t0 --> t1
              t0 --> t2
              t0 -->|"commit"| t3
              t1 --> t4
              t2 --> t4
              t0 --> t4
              t4 -->|"digest"| t5
              t0 -->|"commit"| t5
              t3 -->|"ok"| t5
              t4 -.->|"digest"| t6
        "#]],
        );
        check(
            CI,
            Style::Dot,
            &expect![[r#"
            digraph pipeline {
              rankdir=LR;
              node [shape=box, style=rounded];
              "clone";
              "lint";
              "test" [label="test\n(retries)"];
              "scan";
              "build";
              "publish" [label="publish\n(when)"];
              subgraph cluster_finally {
                label=finally;
                "report";
              }
              "clone" -> "lint";
              "clone" -> "test";
              "clone" -> "scan" [label="commit"];
              "lint" -> "build";
              "test" -> "build";
              "clone" -> "build";
              "build" -> "publish" [label="digest"];
              "clone" -> "publish" [label="commit"];
              "scan" -> "publish" [label="ok"];
              "build" -> "report" [label="digest", style=dashed];
            }
        "#]],
        );
    }

    #[test]
    fn a_picture_has_a_box_for_each_task_and_stays_inside() {
        let svg = drawn(CI, Style::Svg);
        assert_eq!(svg.matches("<rect").count(), 7 + 1, "{svg}");
        assert_eq!(svg.matches("<path class=\"link").count(), 7, "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    fn after(at: usize) -> String {
        if at == 0 { String::new() } else { format!("t{}", (at - 1) / 2) }
    }

    #[test]
    fn a_wide_graph_and_a_single_task() {
        let one = "apiVersion: ergon.dev/v1\nkind: Pipeline\nmetadata: {name: p}\nspec: {tasks: [{name: a, taskRef: {name: a}}]}\n";
        check(
            one,
            Style::Terminal,
            &expect![[r"
            a
        "]],
        );
        let task =
            |at: usize| format!("    - {{name: t{at}, taskRef: {{name: t}}, runAfter: [{}]}}", after(at));
        let tasks: Vec<String> = (0..1000).map(task).collect();
        let many = format!(
            "apiVersion: ergon.dev/v1\nkind: Pipeline\nmetadata: {{name: p}}\nspec:\n  tasks:\n{}\n",
            tasks.join("\n")
        );
        assert_eq!(drawn(&many, Style::Svg).matches("<rect").count(), 1000);
        assert!(drawn(&many, Style::Terminal).lines().count() > 400);
    }
}
